//! Clients and admins: straight-line code that waits for replies in virtual time.
//!
//! A script never touches the world. It leaves wishes in its [`Port`] and is polled again when the world
//! has fulfilled the one that it waits for.

use super::history::Stamp;
use super::resp::Value;
use shoal::util::rng::Rng;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A client port of a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Addr {
    pub ip: String,
    pub port: u16,
}

impl Addr {
    pub fn new(ip: &str, port: u16) -> Addr {
        Addr { ip: ip.to_owned(), port }
    }
}

/// Why a call has no replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Nothing was executed.
    Refused,
    /// It may have been executed, or not, or be executed yet when it was forwarded to a sibling.
    Lost,
}

pub type Replies = Result<Vec<Value>, Broken>;

/// What a script wants of the world.
pub enum Wish {
    Sleep(u64),
    /// Commands on one connection, one after the other.
    Call {
        to: Addr,
        commands: Vec<Vec<Vec<u8>>>,
    },
    /// From now on no other script's commands reach this node, or they do again.
    Hold(Addr, bool),
    Mark(&'static str),
}

/// Where a script meets the world.
pub struct Port {
    /// The machine that it runs on: what that can't reach it can't either.
    pub home: Cell<usize>,
    pub rng: RefCell<Rng>,
    /// The script shall come to its end.
    pub stopping: Cell<bool>,
    pub wishes: RefCell<Vec<Wish>>,
    /// What is known of the write that was answered last.
    pub stamp: RefCell<Option<Stamp>>,
    reply: RefCell<Option<Replies>>,
}

impl Port {
    pub fn new(home: usize, rng: Rng) -> Rc<Port> {
        Rc::new(Port {
            home: Cell::new(home),
            rng: RefCell::new(rng),
            stopping: Cell::new(false),
            wishes: RefCell::default(),
            stamp: RefCell::default(),
            reply: RefCell::default(),
        })
    }

    /// A number in `0..n`.
    pub fn below(&self, n: usize) -> usize {
        self.rng.borrow_mut().below(n as u64) as usize
    }

    pub fn fulfil(&self, replies: Replies) {
        *self.reply.borrow_mut() = Some(replies);
    }

    /// Leaves a wish whose fulfilment is then awaited: what came before is not it.
    fn wish(&self, wish: Wish) {
        self.reply.take();
        self.stamp.take();
        self.wishes.borrow_mut().push(wish);
    }

    pub async fn sleep(&self, ms: u64) {
        self.wish(Wish::Sleep(ms));
        let _ = Awaited(self).await;
    }

    pub async fn call_raw(&self, to: &Addr, commands: Vec<Vec<Vec<u8>>>) -> Replies {
        self.wish(Wish::Call { to: to.clone(), commands });
        Awaited(self).await
    }

    /// One command.
    pub async fn call(&self, to: &Addr, line: &str) -> Result<Value, Broken> {
        let words = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        self.call_raw(to, vec![words]).await.map(|mut replies| replies.pop().expect("a reply"))
    }

    /// Whether it answers OK.
    pub async fn ok(&self, to: &Addr, line: &str) -> bool {
        self.call(to, line).await.is_ok_and(|value| value.is_ok())
    }

    pub fn mark(&self, mark: &'static str) {
        self.wishes.borrow_mut().push(Wish::Mark(mark));
    }

    /// Waits until a node listens to nobody else, or lets it go again.
    pub async fn hold(&self, addr: &Addr, hold: bool) {
        loop {
            self.wish(Wish::Hold(addr.clone(), hold));
            match Awaited(self).await {
                Ok(_) => return,
                Err(_) => self.sleep(2).await,
            }
        }
    }
}

struct Awaited<'a>(&'a Port);

impl Future for Awaited<'_> {
    type Output = Replies;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Replies> {
        self.0.reply.borrow_mut().take().map_or(Poll::Pending, Poll::Ready)
    }
}

/// A script at work.
pub struct Script {
    pub port: Rc<Port>,
    work: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

impl Script {
    pub fn new(port: Rc<Port>, work: impl Future<Output = ()> + 'static) -> Script {
        Script { port, work: Some(Box::pin(work)) }
    }

    /// Lets it go on; its wishes are in its port then.
    pub fn step(&mut self) {
        let Some(work) = &mut self.work else { return };
        if work.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            self.work = None;
        }
    }

    pub fn is_over(&self) -> bool {
        self.work.is_none()
    }
}
