// What applications do with ioredis: pipelines, transactions with WATCH, waiting pops, pub/sub, copies of keys.
// Arguments: a port, and `cluster` when it is a node's.
const Redis = require('ioredis');
const assert = require('assert');
const [port, mode] = [Number(process.argv[2]), process.argv[3]];
const make = () => mode === 'cluster' ? new Redis.Cluster([{ host: '127.0.0.1', port }]) : new Redis(port);
const until = async (what, probe) => {
    for (const end = Date.now() + 10000; !(await probe()); await new Promise(done => setTimeout(done, 5)))
        assert(Date.now() < end, what);
};
async function pipelines(r) {
    const tag = mode === 'cluster' ? '{p}' : '';
    for (const p of [r.pipeline(), r.multi()]) {
        for (let n = 0; n < 100; n++) p.set(`${tag}key${n}`, n).incr(`${tag}key${n}`).get(`${tag}key${n}`);
        const got = await p.exec();
        for (let n = 0; n < 100; n++)
            assert.deepStrictEqual(got.slice(3 * n, 3 * n + 3), [[null, 'OK'], [null, n + 1], [null, `${n + 1}`]]);
    }
}
// many add up, none is lost: a connection of its own each, for a transaction is its connection's
async function watches(r) {
    const add = async () => {
        const mine = make();
        if (mode === 'cluster') await mine.get('{w}sum');
        const c = mode === 'cluster' ? mine.nodes('master')[0] : mine;
        for (let n = 0; n < 20;) {
            await mine.watch('{w}sum');
            const now = Number(await mine.get('{w}sum'));
            if (await mine.multi().set('{w}sum', now + 1).incr('{w}done').exec()) n++;
        }
        mine.disconnect();
    };
    await Promise.all([add(), add(), add(), add()]);
    assert.deepStrictEqual(await r.mget('{w}sum', '{w}done'), ['80', '80']);
}
async function waits(r) {
    const mine = make(), got = [];
    const pops = (async () => { for (let n = 0; n < 50; n++) got.push(Number((await mine.blpop('{q}a', '{q}b', 10))[1])); })();
    for (let n = 0; n < 50; n++) await r.rpush(n % 2 ? '{q}b' : '{q}a', n);
    await pops;
    assert.deepStrictEqual(got.sort((a, b) => a - b), [...Array(50).keys()]);
    assert.strictEqual(await mine.blpop('{q}a', 0.05), null);
    mine.disconnect();
}
async function listens(r) {
    const ear = make(), heard = [];
    ear.on('message', (channel, text) => heard.push(`${channel} ${text}`));
    ear.on('pmessage', (pattern, channel, text) => heard.push(`${pattern} ${text}`));
    await ear.subscribe('news');
    await ear.psubscribe('n?ws');
    for (let n = 0; n < 50; n++) await r.publish('news', n);
    await until('all is heard', () => heard.length >= 100);
    const wanted = [...Array(50).keys()];
    for (const from of ['news', 'n?ws']) assert.deepStrictEqual(heard.filter(h => h.startsWith(from)), wanted.map(n => `${from} ${n}`));
    ear.disconnect();
}
// it has no cache of its own; what one is made of: invalidations go to a connection that listens
async function keepsCopies(r) {
    const ear = new Redis(port), mine = new Redis(port), stale = new Set();
    ear.on('message', (channel, keys) => [].concat(keys).forEach(key => stale.add(String(key))));
    const id = await ear.client('ID');
    await ear.subscribe('__redis__:invalidate');
    await mine.client('TRACKING', 'ON', 'REDIRECT', id);
    const keys = [...Array(20).keys()].map(n => `copy${n}`);
    for (const key of keys) await mine.get(key);
    for (const key of keys) await r.set(key, 1);
    await until('all is told', () => stale.size === 20);
    ear.disconnect(), mine.disconnect();
}
(async () => {
    const r = make();
    if (mode !== 'cluster') await r.flushall();
    await pipelines(r);
    if (mode !== 'cluster') await watches(r);
    await waits(r);
    await listens(r);
    if (mode !== 'cluster') await keepsCopies(r);
    r.disconnect();
})().catch(error => { console.error(error); process.exit(1); });
