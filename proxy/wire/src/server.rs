//! The data plane: one thread and runtime per core, each with its own sockets, connections, upstream
//! pool and ledger ring. What they share is read-only or atomic.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, Cache};
use claviger_contract::event::RequestId;
use claviger_contract::{Clock, EventSink};
use claviger_ledger::{CoreLedger, Ledger};
use claviger_policy::SpiffeId;
use tokio::runtime::LocalOptions;
use tokio::sync::{mpsc, watch};

use crate::bindings::Bindings;
use crate::exchange::Exchanges;
use crate::generation::Generation;
use crate::listener::{self, Bound};
use crate::metrics::Metrics;
use crate::relay::Refused;
use crate::request_id::IdHeaders;
use crate::resolve::Resolver;
use crate::settings::Bind;
use crate::suspended::Suspended;
use crate::upstream::Pool;

/// How often exchanges and idle upstream connections are looked through.
const SWEEP: Duration = Duration::from_secs(1);

/// Refused connections that each core records per sweep; more are only counted.
const CONNECTION_RECORDS: u32 = 100;

/// What the data plane is joined with.
pub struct ServerEnv {
    /// The first configuration.
    pub generation: Generation,
    /// Where requests are recorded.
    pub ledger: Arc<Ledger>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// Counters.
    pub metrics: Metrics,
    /// What is suspended.
    pub suspended: Arc<Suspended>,
    /// How many data cores; at least one.
    pub cores: usize,
    /// Sockets that are bound already, by the names of the listeners that take them over instead of binding.
    pub adopted: Vec<(Arc<str>, std::net::TcpListener)>,
    /// Is told of every request that was refused.
    pub refused: Option<OnRefused>,
    /// Done by each core once a second, on its own thread.
    pub tidy: fn(),
}

/// Is told of a request that was refused.
pub type OnRefused = Arc<dyn Fn(Refused) + Send + Sync>;

impl fmt::Debug for ServerEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerEnv").field("cores", &self.cores).finish_non_exhaustive()
    }
}

/// Why the data plane did not start, or did not take a generation.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be bound.
    #[error("{location}: error: `listener.{listener}.bind`: failed to bind `{bind}`: {source}")]
    Bind {
        /// Its name.
        listener: Arc<str>,
        /// Where it is written.
        location: String,
        /// The address.
        bind: String,
        /// Why.
        source: std::io::Error,
    },
    /// A data core's thread or runtime cannot be made.
    #[error("failed to start a data core: {0}")]
    Core(#[source] std::io::Error),
}

/// The running data plane.
pub struct Server {
    shared: Arc<ArcSwap<Generation>>,
    number: Arc<AtomicU64>,
    cores: Vec<CoreHandle>,
    open: std::sync::Mutex<HashMap<(Arc<str>, Bind), OpenListener>>,
    adopted: Vec<(Arc<str>, std::net::TcpListener)>,
    drain: watch::Sender<bool>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("cores", &self.cores.len()).finish_non_exhaustive()
    }
}

struct CoreHandle {
    commands: mpsc::UnboundedSender<Listen>,
    thread: JoinHandle<()>,
}

struct OpenListener {
    actual: Bind,
    close: watch::Sender<bool>,
}

struct Listen {
    name: Arc<str>,
    socket: Bound,
    closed: watch::Receiver<bool>,
}

impl Server {
    /// Starts the cores and binds all listeners.
    pub fn start(env: ServerEnv) -> Result<Self, StartError> {
        let number = Arc::new(AtomicU64::new(env.generation.number));
        let shared = Arc::new(ArcSwap::from_pointee(env.generation));
        let (drain, draining) = watch::channel(false);
        let (mut cores, mut making) = (Vec::new(), Vec::new());
        for index in 0..env.cores.max(1) {
            let (commands, inbox) = mpsc::unbounded_channel();
            let seed = Seed {
                index,
                shared: shared.clone(),
                number: number.clone(),
                ledger: env.ledger.clone(),
                clock: env.clock.clone(),
                resolver: env.resolver.clone(),
                metrics: env.metrics.clone(),
                suspended: env.suspended.clone(),
                refused: env.refused.clone(),
                tidy: env.tidy,
                drain: draining.clone(),
            };
            let (made, told) = std::sync::mpsc::sync_channel(1);
            let thread = std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(move || run_core(seed, inbox, &made))
                .map_err(StartError::Core)?;
            making.push(told);
            cores.push(CoreHandle { commands, thread });
        }
        let server =
            Self { shared: shared.clone(), number, cores, open: Default::default(), adopted: env.adopted, drain };
        let bound = server.bind(&shared.load())?;
        // Each core makes its runtime itself, for that never leaves its thread: all of them at the same time.
        for told in making {
            told.recv().unwrap_or_else(|_| Err(std::io::ErrorKind::BrokenPipe.into())).map_err(StartError::Core)?;
        }
        server.hand_out(bound);
        Ok(server)
    }

    /// Where each listener really listens.
    pub fn addresses(&self) -> Vec<(Arc<str>, Bind)> {
        let open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut all: Vec<_> = open.iter().map(|((name, _), one)| (name.clone(), one.actual.clone())).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    /// The configuration in force.
    pub fn generation(&self) -> Arc<Generation> {
        self.shared.load_full()
    }

    /// For whoever only looks, also while the server drains.
    pub fn view(&self) -> View {
        View(self.shared.clone())
    }

    /// Puts a new configuration in force, all at once. If a new address cannot be bound the old one stays.
    pub fn replace(&self, generation: Generation) -> Result<(), StartError> {
        let generation = Arc::new(generation);
        let bound = self.bind(&generation)?;
        let number = generation.number;
        self.shared.store(generation.clone());
        self.number.store(number, Ordering::Release);
        // Only now: a connection must find its listener in the generation that is in force.
        self.hand_out(bound);
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        open.retain(|key, one| {
            let stays = generation.listeners.iter().any(|listener| is(listener, key));
            if !stays {
                one.close.send_replace(true);
            }
            stays
        });
        Ok(())
    }

    /// Stops accepting, lets open requests end within the drain timeout, and stops the cores.
    pub fn drain(self) {
        {
            let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            for ((_, bind), one) in open.drain() {
                one.close.send_replace(true);
                if let Bind::Unix(file) = bind {
                    // Left behind it would only be stale; the next start removes it as well.
                    let _ = std::fs::remove_file(file);
                }
            }
        }
        self.drain.send_replace(true);
        for core in self.cores {
            drop(core.commands);
            // A core that panicked has already said so.
            let _ = core.thread.join();
        }
    }

    /// Binds what is not bound yet; all of it, or nothing.
    fn bind(&self, generation: &Generation) -> Result<Vec<NewlyBound>, StartError> {
        let open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut bound = Vec::new();
        for listener in &generation.listeners {
            if open.keys().any(|key| is(listener, key)) {
                continue;
            }
            let settings = &listener.settings;
            let cores = self.cores.len();
            let sockets = match self.adopted.iter().find(|(name, _)| *name == settings.name) {
                Some((_, socket)) => listener::adopt(socket, cores),
                None => listener::bind(&settings.bind, settings.socket_mode, cores),
            };
            let sockets = sockets.map_err(|source| StartError::Bind {
                listener: settings.name.clone(),
                location: settings.bind_location.location.to_string(),
                bind: settings.bind.to_string(),
                source,
            })?;
            bound.push((settings.name.clone(), settings.bind.clone(), sockets));
        }
        Ok(bound)
    }

    /// Gives each core its sockets.
    fn hand_out(&self, bound: Vec<NewlyBound>) {
        let mut open = self.open.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (name, bind, (actual, sockets)) in bound {
            let (close, closed) = watch::channel(false);
            for (core, socket) in self.cores.iter().zip(sockets) {
                let listen = Listen { name: name.clone(), socket, closed: closed.clone() };
                // A core that is gone cannot accept; the others do.
                let _ = core.commands.send(listen);
            }
            open.insert((name, bind), OpenListener { actual, close });
        }
    }
}

/// A listener's name, the address as written, the address as bound, and a socket for each core.
type NewlyBound = (Arc<str>, Bind, (Bind, Vec<Bound>));

fn is(listener: &crate::generation::Listener, key: &(Arc<str>, Bind)) -> bool {
    listener.settings.name == key.0 && listener.settings.bind == key.1
}

/// The configuration in force, for whoever only looks.
#[derive(Clone)]
pub struct View(Arc<ArcSwap<Generation>>);

impl View {
    /// The configuration in force.
    pub fn generation(&self) -> Arc<Generation> {
        self.0.load_full()
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("View")
    }
}

/// What crosses into a core's thread.
struct Seed {
    index: usize,
    shared: Arc<ArcSwap<Generation>>,
    number: Arc<AtomicU64>,
    ledger: Arc<Ledger>,
    clock: Arc<dyn Clock>,
    resolver: Resolver,
    metrics: Metrics,
    suspended: Arc<Suspended>,
    refused: Option<OnRefused>,
    tidy: fn(),
    drain: watch::Receiver<bool>,
}

/// What one data core owns. Its tasks share it without locks.
pub(crate) struct Core {
    generation: RefCell<Cache<Arc<ArcSwap<Generation>>, Arc<Generation>>>,
    number: Arc<AtomicU64>,
    pub(crate) ledger: CoreLedger,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) exchanges: Exchanges,
    pub(crate) ids: IdHeaders,
    /// Bytes of bodies that are held whole.
    pub(crate) buffered: Cell<usize>,
    /// Open requests by caller.
    pub(crate) callers: RefCell<HashMap<SpiffeId, u32, foldhash::fast::RandomState>>,
    /// Which rules concern the callers of late.
    pub(crate) bindings: RefCell<Bindings>,
    pub(crate) resolver: Resolver,
    pub(crate) metrics: Metrics,
    pub(crate) suspended: Arc<Suspended>,
    pub(crate) refused: Option<OnRefused>,
    pub(crate) drain: watch::Receiver<bool>,
    salt: u128,
    requests: Cell<u32>,
    connection_records: Cell<u32>,
    /// Client connections that are being served.
    pub(crate) open_connections: Cell<usize>,
}

impl Core {
    fn new(seed: Seed) -> Rc<Self> {
        let mut salt = [0_u8; 8];
        // Ids need to be unique, not secret: without randomness the core's number must do.
        if aws_lc_rs::rand::fill(&mut salt).is_err() {
            salt = u64::try_from(seed.index).unwrap_or_default().to_be_bytes();
        }
        Rc::new(Self {
            generation: RefCell::new(Cache::new(seed.shared)),
            number: seed.number,
            ledger: seed.ledger.core(seed.index),
            events: seed.ledger,
            clock: seed.clock,
            pool: Pool::new(seed.resolver.clone()),
            exchanges: Exchanges::default(),
            ids: IdHeaders::default(),
            buffered: Cell::new(0),
            callers: RefCell::default(),
            bindings: RefCell::default(),
            resolver: seed.resolver,
            metrics: seed.metrics,
            suspended: seed.suspended,
            refused: seed.refused,
            drain: seed.drain,
            salt: u128::from(u64::from_be_bytes(salt) & 0xffff_ffff_ffff) << 32,
            requests: Cell::new(0),
            connection_records: Cell::new(0),
            open_connections: Cell::new(0),
        })
    }

    /// The configuration in force; a request keeps the one it began with.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.generation.borrow_mut().load().clone()
    }

    /// Its number, for a cheap look whether it changed.
    pub(crate) fn generation_number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// 48 bits of milliseconds, 48 of this core's salt, 32 of a counter: sorted by time, unique.
    pub(crate) fn next_id(&self) -> RequestId {
        let count = self.requests.get();
        self.requests.set(count.wrapping_add(1));
        let ms = u128::from(self.clock.now_ms().unsigned_abs() & 0xffff_ffff_ffff) << 80;
        RequestId(ms | self.salt | u128::from(count))
    }

    /// Counts a client connection until the value is dropped.
    pub(crate) fn count_connection(self: &Rc<Self>) -> CountedConnection {
        self.metrics.connections.inc();
        self.open_connections.set(self.open_connections.get() + 1);
        CountedConnection(self.clone())
    }

    /// Whether one more refused connection may have a record of its own.
    pub(crate) fn may_record_connection(&self) -> bool {
        let count = self.connection_records.get();
        self.connection_records.set(count.saturating_add(1));
        count < CONNECTION_RECORDS
    }
}

/// A client connection that is being served.
pub(crate) struct CountedConnection(Rc<Core>);

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.metrics.connections.dec();
        self.0.open_connections.set(self.0.open_connections.get().saturating_sub(1));
    }
}

fn run_core(
    seed: Seed,
    mut inbox: mpsc::UnboundedReceiver<Listen>,
    made: &std::sync::mpsc::SyncSender<std::io::Result<()>>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    // Whoever starts the core waits for this.
    let (runtime, told) = match runtime {
        Ok(runtime) => (runtime, made.send(Ok(()))),
        Err(error) => return drop(made.send(Err(error))),
    };
    drop(told);
    let tidy = seed.tidy;
    let core = Core::new(seed);
    let (tending, accepting) = (core.clone(), core.clone());
    runtime.block_on(async move {
        // Tasks of their own, so that both go on while the core drains.
        tokio::task::spawn_local(sweep(tending.clone(), tidy));
        tokio::task::spawn_local(suspend(tending));
        while let Some(Listen { name, socket, closed }) = inbox.recv().await {
            tokio::task::spawn_local(listener::accept(accepting.clone(), name, socket, closed));
        }
    });
    // The server is draining: what is still open may end, but not for ever. Upstream connections end with their pool,
    // which nobody asks any more.
    let timeout = core.generation().limits.drain_timeout;
    runtime.block_on(async {
        let _ = tokio::time::timeout(timeout, core.quiet()).await;
    });
}

/// Looks through what is under way, for ever.
async fn sweep(core: Rc<Core>, tidy: fn()) {
    let mut tick = tokio::time::interval(SWEEP);
    loop {
        tick.tick().await;
        let generation = core.generation();
        core.pool.sweep(&generation.limits);
        core.exchanges.sweep(&core, generation.limits.body_idle_timeout);
        core.connection_records.set(0);
        core.bindings.borrow_mut().keep_only(&generation.policy);
        tidy();
    }
}

/// Ends what uses something that is suspended as soon as that is known, for ever.
async fn suspend(core: Rc<Core>) {
    let mut changes = core.suspended.changes();
    while changes.changed().await.is_ok() {
        let core = core.clone();
        // A next change need not wait for the last word of what this one ends.
        tokio::task::spawn_local(async move { core.exchanges.end_suspended(&core).await });
    }
}

impl Core {
    /// Resolves when no client connection is left.
    async fn quiet(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        while self.open_connections.get() > 0 {
            tick.tick().await;
        }
    }
}
