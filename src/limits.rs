//! Every bound in the house. Nothing grows without one.

/// Longest bulk string and longest value: `proto-max-bulk-len`'s default.
pub const MAX_BULK: usize = 512 * 1024 * 1024;
/// Most arguments of one command.
pub const MAX_ARGS: usize = 1024 * 1024;
/// Most arguments and longest bulk of one command before the client has authenticated.
pub const MAX_ARGS_UNAUTH: usize = 10;
pub const MAX_BULK_UNAUTH: usize = 16 * 1024;
/// Commands that users can be allowed, or not, one by one.
pub const ACL_COMMANDS: usize = 1024;
/// Bytes of a key, a channel or a user's name that ACL LOG keeps.
pub const ACL_LOG_TEXT: usize = 4096;
/// Bits of the longest password that ACL GENPASS makes up.
pub const GENPASS_BITS: i64 = 4096;
/// Longest inline command, and longest length line of a multibulk command.
pub const MAX_INLINE: usize = 64 * 1024;
/// Longest command, whatever `client-query-buffer-limit` says: places in it are counted in 32 bits.
pub const MAX_REQUEST: usize = u32::MAX as usize;
/// Longest string of a payload or an RDB file: a listpack's most, and more than any value's.
pub const RDB_STRING: usize = 1 << 30;
/// Buffer that the reading of an RDB file keeps between two large strings.
pub const RDB_KEEP: usize = 4 * 1024 * 1024;
/// Bytes of an RDB file that are written, and read, at once; elements of a value that are read at once.
pub const RDB_WRITE: usize = 256 * 1024;
pub const RDB_READ: usize = 256 * 1024;
pub const RDB_STEP: usize = 1024;
/// Keys that one core hands another at once while data is loaded, and such parcels that may wait.
pub const LOAD_PARCEL: usize = 256;
pub const LOAD_PARCELS: usize = 16;
/// How long a shard that is to save for the last time waits for slots that it has lent, and how often
/// all shards try.
pub const SAVE_PATIENCE_MS: u64 = 200;
pub const SAVE_TRIES: u32 = 3;
/// Strings up to this length live inside their entry.
pub const INLINE_VALUE: usize = 1024;
/// Requests from this length on are received for themselves, so that their value can be kept as it came.
pub const LONG_REQUEST: usize = 32 * 1024;
/// Bytes that a request lacks from which on they are received straight into its buffer, and how many at once.
pub const LONG_RECV: usize = 128 * 1024;
pub const LONG_RECV_ONCE: usize = 1024 * 1024;
/// Bytes of buffers that wait for requests of which nothing has come, of clients that send long ones.
pub const LENT_AHEAD: usize = 16 * 1024 * 1024;
/// Of what a client announces, so many times as much as it has sent gets room: with the first buffer that came,
/// all of a request of some megabytes.
pub const TRUST: usize = 1024;
/// How often memory that nobody uses goes back to the system, in seconds: what large values take and leave is
/// cleared by the kernel each time that it comes back.
pub const PURGE_S: u64 = 10;
/// Commands that are parsed and prefetched together before the first of them executes.
pub const BATCH: usize = 64;
/// Commands that are parsed between two steps of a key's way through memory.
pub const AHEAD: usize = 4;
/// A recycled batch keeps its buffers up to this size.
pub const BATCH_KEEP: usize = 256 * 1024;
/// Batches that may wait in one mailbox; senders keep the rest.
pub const MAILBOX: usize = 256;
/// Quick commands that a core does at once for a sibling that sleeps: some hundred microseconds, for which
/// the sibling may have to wait when it wakes.
pub const VISIT_WEIGHT: u32 = 2048;
/// How often in a turn a sibling's answers may lead to more visits.
pub const VISIT_ROUNDS: usize = 4;
/// Looks at a baton that a visitor has, before a core that has woken gives its time to others.
pub const BATON_SPINS: u32 = 256;
/// Bytes of published messages on their way to one shard of the host, from siblings and again from other
/// hosts, above which publishers wait, and messages of other hosts are lost.
pub const UNHEARD: u64 = 32 * 1024 * 1024;
/// ... and above which siblings' messages are lost, too: those that nobody can be made to wait for.
pub const UNHEARD_AT_ALL: u64 = 4 * UNHEARD;
/// Commands of one client that may await siblings' replies; fewer when those are large.
pub const PIPELINE: usize = 10_000;
/// How large replies are thought to be before the first one came.
pub const REPLY_GUESS: usize = 256 * 1024;
/// What of a client's replies CLIENT LIST tells as those in Redis's fixed buffer.
pub const REPLY_BUFFER: usize = 16 * 1024;
/// A client with this much unread output gets no more commands executed until it reads.
pub const OUTPUT_HIGH: usize = 4 * 1024 * 1024;
/// ... and goes on when it is down to this.
pub const OUTPUT_LOW: usize = 1024 * 1024;
/// Output below this waits for siblings' replies that belong behind it, for at most so long: a send
/// costs more than many replies.
pub const HELD_OUTPUT: usize = 16 * 1024;
pub const HELD_OUTPUT_US: u64 = 500;
/// Bytes of commands on hold, after which a client's socket is no longer read.
pub const PENDING_HIGH: usize = 1024 * 1024;
/// Volatile entries that one turn's active expiry looks at.
pub const EXPIRE_STEP: usize = 160;
/// Keys that are evicted between two looks at the time that it may take.
pub const EVICT_STEP: usize = 16;
/// Commands that may need memory before a turn looks at `maxmemory` again.
pub const LOOK_EVERY: u32 = 16;
/// One part in so many of `maxmemory` too much is worth waking siblings for; ...
pub const CROWDED: u64 = 512;
/// ... at one part in so many, a shard no longer waits for siblings to give up their share.
pub const OVERRUN: u64 = 32;
/// Arguments and bytes of each that a SLOWLOG entry keeps.
pub const SLOWLOG_ARGS: usize = 32;
pub const SLOWLOG_ARG_BYTES: usize = 128;
/// Bytes of a value, or nodes of a list, above which a snapshot writes it in pieces, and lets who would
/// change it wait: what is below costs that client less than a millisecond.
pub const SNAPSHOT_WHOLE: usize = 256 * 1024;
pub const SNAPSHOT_NODES: usize = 64;
/// What a snapshot may cost each turn of a shard: entries that are looked at, and bytes that are written.
/// A shard that has nothing else to do takes turn after turn.
pub const SNAPSHOT_VISITS: usize = 256;
pub const SNAPSHOT_STEP_BYTES: usize = 16 * 1024;
/// Bytes of a snapshot that are given to the disk at once, and those that may wait there before the walk
/// waits for it.
pub const SNAPSHOT_CHUNK: usize = 32 * 1024;
pub const SNAPSHOT_UNWRITTEN: u64 = 4 * 1024 * 1024;
/// Bytes handed out to a snapshot, ahead of the walk, above which writers wait; and for how long the disk
/// may take nothing before the snapshot is given up.
pub const SNAPSHOT_BACKLOG: usize = 16 * 1024 * 1024;
pub const SNAPSHOT_PATIENCE_MS: u64 = 10_000;
/// How often a core that has nothing else to do looks after its files, in microseconds.
pub const FILE_POLL_US: u64 = 1000;
/// Bytes of a file after which it is synced on the way (`rdb-save-incremental-fsync`).
pub const SAVE_SYNC: usize = 2 * 1024 * 1024;
/// Seconds between two tries to save when the last one failed.
pub const SAVE_RETRY_S: u64 = 5;
/// Provided receive buffers of a ring, and the size of each.
pub const RECV_BUFFERS: u16 = 512;
pub const RECV_BUFFER: u32 = 8 * 1024;
/// Receive buffers that are on offer to the kernel at least.
pub const RECV_OFFER: u16 = 64;
/// Submission and completion queue of a ring.
pub const RING_ENTRIES: u32 = 1024;
pub const RING_COMPLETIONS: u32 = 8192;
/// Buffers a client keeps between requests.
pub const KEEP_BUFFER: usize = 64 * 1024;
/// Turns after which a core lets the other tasks of its glommio executor run.
pub const TURNS_A_YIELD: u32 = 64;
/// Entries of each of glommio's own rings: a core's sockets and files are on a ring of ours.
pub const GLOMMIO_RING: usize = 128;
/// Rounds of PFSELFTEST over all registers, and elements that it counts: a tenth of Redis's, for a shard
/// that stands still for seconds is taken for dead.
pub const HLL_TEST_ROUNDS: usize = 100;
pub const HLL_TEST_ELEMENTS: u64 = 1_000_000;
/// Longest reply to a random pick with repetitions (SRANDMEMBER and the like with a negative count).
pub const RANDOM_REPLY: usize = 256 * 1024 * 1024;
/// And each node of a cluster: its port, its letterbox, and links to some thirty other nodes. What is
/// beyond that comes out of what clients leave.
pub const NODE_FILES: u64 = 64;
/// How long a host that joins waits for an answer, and between two tries.
pub const JOIN_PATIENCE_MS: u64 = 2000;
pub const JOIN_PAUSE_MS: u64 = 500;
/// Longest first line of a reply that it reads.
pub const JOIN_LINE: u64 = 4096;
/// Longest packet of the cluster bus: the longest message with a channel's name around it.
pub const BUS_PACKET: usize = MAX_BULK + 1024 * 1024;
/// Longest text of an IP address (INET6_ADDRSTRLEN without its NUL).
pub const ADDRESS: usize = 45;
/// Longest host name, and longest name of a node for humans.
pub const HOSTNAME: usize = 255;
/// Unsent bytes of one bus link, when `cluster-link-sendbuf-limit` sets no lower bound.
pub const BUS_OUTPUT: usize = 2 * BUS_PACKET;
/// Packets in the making, of all bus links together: the link that asks for more is closed.
pub const BUS_INPUT: usize = 2 * BUS_PACKET;
/// Links of the bus that others may have opened to this host.
pub const BUS_INBOUND: usize = 128 * 1024;
/// Buffer that a bus link keeps between packets.
pub const BUS_KEEP: usize = 8 * 1024;
/// Provided receive buffers of the bus's ring.
pub const BUS_BUFFERS: u16 = 256;
/// Messages from shards that may wait for the bus.
pub const BUS_MAIL: usize = 4096;
/// Longest nodes.conf that is read.
pub const NODES_CONF: u64 = 64 * 1024 * 1024;
/// Nodes that a host knows of one cluster. Redis's advice is to stay below 1000.
pub const CLUSTER_NODES: usize = 16_384;
/// The longest node timeout that makes a difference.
pub const NODE_TIMEOUT_MS: u64 = 10 * 365 * 24 * 3600 * 1000;
/// A shard that says nothing is spoken for half the node timeout, and at least so long.
pub const HEARTBEAT_MS: u64 = 500;
/// Packets that wait for nodes.conf to reach the disk; what comes on top is not sent.
pub const BUS_HELD: usize = 16_384;
/// Ticks of the plane in a second.
pub const TICKS_A_SECOND: u64 = 10;
/// Nodes that are drawn once a second, to ping the one of them that was silent longest.
pub const PING_DRAWS: usize = 5;
/// A Shoal host is pinged when it has not answered for this part of the node timeout, or this time if that is
/// longer: the wait for what is lost begins so much later at most.
pub const HOST_PINGS: u64 = 10;
pub const HOST_PING_MS: u64 = 500;
/// A host sends others so many such PINGs a second at most, and waits longer for each when there are more hosts.
pub const HOST_PINGS_A_SECOND: u64 = 50;
/// Other nodes that a PING tells of at least, when there are so many.
pub const GOSSIP_MIN: usize = 3;
/// A handshake may take the node timeout, and at least so long.
pub const HANDSHAKE_MIN_MS: u64 = 1000;
/// A failure report counts for so many node timeouts; a failed master that nobody replaces is taken
/// back after so many.
pub const FAIL_REPORT_VALIDITY: u64 = 2;
pub const FAIL_UNDO: u64 = 2;
/// A slot that was imported is kept for so many node timeouts after its former owner has given up its claim,
/// should an older packet say otherwise.
pub const IMPORT_KEPT: u64 = 2;
/// How long a forgotten node is kept out.
pub const FORGOTTEN_MS: u64 = 60_000;
/// A master is not writable for so long after its start.
pub const WRITABLE_DELAY_MS: u64 = 2000;
/// A master that was in a minority is back after the node timeout, between these.
pub const REJOIN_MIN_MS: u64 = 500;
pub const REJOIN_MAX_MS: u64 = 5000;
/// An election lasts two node timeouts, and at least so long.
pub const ELECTION_MIN_MS: u64 = 2000;
/// Votes are asked for so long after a failure is known (and up to twice that, by chance), and so much
/// later for each replica with more data.
pub const ELECTION_DELAY_MS: u64 = 500;
pub const ELECTION_RANK_MS: u64 = 1000;
/// Who has voted for a replica of a master does so again after two node timeouts, which it counts from the
/// request: so much later it has heard of that.
pub const ELECTION_REFUSED_MS: u64 = 100;
/// Of masters that fail together not all are known at once: who asks for votes early waits so long after the
/// last news.
pub const ELECTION_SETTLE_MS: u64 = 30;
/// How long a host's next candidate waits for the one that stands, when they can't stand together.
pub const ELECTION_TURN_MS: u64 = 1000;
/// A master must be without replicas for so long before another's replica moves to it.
pub const REPLICA_MIGRATION_DELAY_MS: u64 = 5000;
/// A manual failover is given up after this; clients wait for so many times that.
pub const MANUAL_FAILOVER_MS: u64 = 5000;
pub const MANUAL_PAUSE: u64 = 2;
/// A bus link that somebody else opened is closed after so many node timeouts without a packet, and
/// not before this time: a live peer pings every half of one.
pub const BUS_IDLE_TIMEOUTS: u64 = 4;
pub const BUS_IDLE_MIN_MS: u64 = 60_000;
/// Slots whose load a shard looks at together, how many such stripes a tick looks at, and how long it
/// leaves one alone.
pub const LOAD_STRIPE: usize = 1024;
pub const LOAD_STRIPES: usize = 2;
pub const LOAD_EVERY_MS: u64 = 1000;
/// How fast a load is forgotten: what was so long ago counts a third of what is.
pub const LOAD_MEMORY_MS: u64 = 5000;
/// How often a host looks whether its shards are evenly busy, how many slots may move then, and how long
/// a slot stays that has moved.
pub const BALANCE_EVERY_MS: u64 = 5000;
pub const BALANCE_MOVES: usize = 256;
pub const BALANCE_REST_MS: u64 = 60_000;
/// Nothing moves for less than so much of the busiest shard's share of all the work, ...
pub const BALANCE_GAIN: f64 = 0.1;
/// ... nor while no shard is busy for so many nanoseconds of a second.
pub const BALANCE_LEAST_NS: u64 = 5_000_000;
/// A shard that is above its share by less than one part in so many has nothing to give.
pub const BALANCE_FINE: u64 = 50;
/// Descriptors that a host needs besides its clients', and each of its shards.
pub const OWN_FILES: u64 = 32;
pub const SHARD_FILES: u64 = 16;
/// MIGRATEs of one shard that are under way at once; further ones wait.
pub const MIGRATE_AT_ONCE: usize = 32;
/// Bytes of values that a shard writes for MIGRATE before it looks at its clients again.
pub const MIGRATE_STEP: usize = 32 * 1024;
/// Bytes for one target that may wait for its socket.
pub const MIGRATE_WINDOW: usize = 512 * 1024;
/// Longest line of a target's reply that is kept, as in Redis.
pub const MIGRATE_LINE: usize = 1023;
/// Connections to targets that are kept for the next MIGRATE, and for how long, as in Redis.
pub const MIGRATE_LINKS: usize = 64;
pub const MIGRATE_LINK_MS: u64 = 10_000;
/// A payload above so many bytes is read by RESTORE in steps, so many bytes in a turn.
pub const RESTORE_WHOLE: usize = 128 * 1024;
pub const RESTORE_STEP: usize = 64 * 1024;
/// What a turn tells of slots that are landing: steps of their tables, and bytes. A value above so many is
/// told over several turns.
pub const LANDING_VISITS: usize = 128;
pub const LANDING_STEP: usize = 16 * 1024;
pub const LANDING_WHOLE: usize = 4 * 1024;
/// Keys that are told before the walk has come to them, because they are written to. Writers of more wait until
/// their slot has landed.
pub const LANDING_AHEAD: usize = 256 * 1024;
/// Bytes that the log may have before it to write, above which slots land no further: under `appendfsync
/// always` a client's reply waits for the sync of so many more.
pub const LANDING_UNWRITTEN: usize = 256 * 1024;
/// Entries that a rough trim of a stream removes at most, if nodes have no limit of entries, and however
/// high that limit is.
pub const STREAM_TRIM: u64 = 10_000;
pub const STREAM_TRIM_MAX: u64 = 1_000_000;
/// Entries of a stream that a client gets that has waited and set no bound.
pub const STREAM_WOKEN: usize = 1000;
/// Elements that one command of a rewritten append-only file adds at most.
pub const AOF_REWRITE_ITEMS: usize = 64;
/// Longest annotation of an append-only file.
pub const AOF_NOTE: usize = 1024;
/// Bytes of an append-only file that are read, or of a new base that are written, at a time.
pub const AOF_READ: usize = 1024 * 1024;
/// What a log keeps of the buffer that a turn has filled: several turns of many clients with long pipelines.
pub const AOF_KEEP: usize = 1024 * 1024;
/// Seconds between two lines of the log about how far a load or a snapshot is.
pub const PROGRESS_S: u64 = 5;
/// Seconds for which a write may wait for a sync, and between two log lines about failing writes.
pub const AOF_POSTPONE_S: u64 = 2;
pub const AOF_ERROR_LOG_S: u64 = 30;
/// After so many failures in a row, rewrites by themselves wait, longer each time.
pub const AOF_REWRITE_TRIES: u64 = 3;
pub const AOF_REWRITE_DELAY_S: u64 = 60;
pub const AOF_REWRITE_DELAY_MAX_S: u64 = 3600;
/// Bytes of changes that a shard whose core sleeps may keep for the next tick to write.
pub const STREAM_UNWRITTEN: usize = 64 * 1024;
/// The stream that replicas get is kept in pieces of this size.
pub const REPL_CHUNK: usize = 16 * 1024;
/// Bytes that are given to a replica's socket at once.
pub const REPL_WINDOW: usize = 256 * 1024;
/// Bytes of what a host takes at its start that count as used: as many as redis-server takes.
pub const STARTUP_COUNTED: u64 = 1 << 20;
/// Bytes that a client may leave unread that has not said the password: Redis's buffer, and a kilobyte beside it.
pub const OUTPUT_OF_STRANGERS: u64 = 17 * 1024;
/// Keys beyond `tracking-table-max-keys` that a shard forgets at a time.
pub const TRACKING_TRIM_STEP: usize = 1000;
/// Keys of a slot that is handed to a sibling are named so many at a time to replicas, which drop them, and so
/// many in a turn.
pub const PARTING: usize = 64;
pub const PARTING_STEP: usize = 1024;
/// How often replication looks at its clock.
pub const REPL_SECOND_MS: u64 = 1000;
/// Longest line of a primary's answers.
pub const REPL_LINE: usize = 1024;
/// Bytes that each of a shard's two interpreters may take: who wants more gets an error.
pub const SCRIPT_MEMORY: usize = 1 << 30;
/// Instructions of a script between two looks at whether it may go on.
pub const SCRIPT_LOOK: u32 = 100_000;
/// How deep tables may stand in each other in a script's reply and in MessagePack, and in JSON, whose own limit
/// scripts may raise no further.
pub const SCRIPT_NESTING: usize = 500;
pub const JSON_NESTING: usize = 1000;
/// Values that one call may unpack from MessagePack: as many as fit a C function's stack in Lua.
pub const SCRIPT_RESULTS: usize = 7900;
/// How often a shard's doors are looked after while a script runs.
pub const SCRIPT_ATTEND_MS: u64 = 10;
/// So many looks, about as many milliseconds, a library's code may take to register its functions.
pub const LIBRARY_LOOKS: u32 = 500;
