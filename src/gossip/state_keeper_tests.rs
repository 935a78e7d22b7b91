//! The thread that keeps a state file, on disks that fail.

use crossbeam_channel::never;
use parking_lot::MutexGuard;

use super::*;
use crate::{
    log_line::capture,
    sim::disk::ModelDisk,
    swim::{Identity, Member, MemberState, Time},
    wire::Tags,
};

/// Longer than any machine takes.
const LONG: Duration = Duration::from_secs(60);

/// A disk that the test can inspect meanwhile.
#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<ModelDisk>>);

impl Shared {
    fn disk(&self) -> MutexGuard<'_, ModelDisk> {
        self.0.lock()
    }

    /// Whether the file contains a name.
    fn holds(&self, name: &str) -> bool {
        let disk = self.disk();
        disk.file().is_some_and(|file| file.windows(name.len()).any(|part| part == name.as_bytes()))
    }
}

impl Files for Shared {
    type File = u64;

    fn read(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.disk().read()
    }

    fn create(&mut self) -> io::Result<u64> {
        self.disk().create()
    }

    fn write(&mut self, file: &mut u64, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.windows(5).all(|part| part != b"panic"), "a disk of this test");
        self.disk().write(file, bytes)
    }

    fn sync(&mut self, file: &mut u64) -> io::Result<()> {
        self.disk().sync(file)
    }

    fn put_in_place(&mut self) -> io::Result<()> {
        self.disk().put_in_place()
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.disk().sync_folder()
    }

    fn discard(&mut self) {
        self.disk().discard();
    }

    fn check_in_place(&mut self, file: &u64, size: usize, header: &[u8]) -> bool {
        self.disk().check_in_place(file, size, header)
    }
}

/// A thread that keeps a file, and the node that it follows.
struct Rig {
    disk: Shared,
    directory: Arc<Directory>,
    counters: Arc<Counters>,
    thread: Option<JoinHandle<Vec<String>>>,
    abandoned: Stop,
}

impl Rig {
    fn start(look: Duration, forget_unseen: Duration) -> Self {
        Self::start_on(Shared::default(), look, forget_unseen)
    }

    fn start_on(disk: Shared, look: Duration, forget_unseen: Duration) -> Self {
        let (directory, counters) = (Arc::<Directory>::default(), Arc::<Counters>::default());
        let (file, _) = StateFile::read(disk.clone(), ("default", "me"), 100, false).unwrap();
        let work = Work {
            node: "me".into(),
            counters: Arc::clone(&counters),
            path: "a path".into(),
            file,
            look,
            forget_unseen,
            failed: false,
        };
        let abandoned = work.file.abandoned();
        let followed = Followed { directory: Arc::clone(&directory), node: Weak::new(), changed: never() };
        let run = move || capture::lines(|| work.run(&followed));
        let thread = Some(std::thread::Builder::new().spawn(run).unwrap());
        Self { disk, directory, counters, thread, abandoned }
    }

    fn joins(&self, name: &str) {
        self.directory.publish(&Event::Joined { member: living(name, 1) });
    }

    fn errors(&self) -> u64 {
        let mut metrics = crate::Metrics::default();
        self.counters.add_to(&mut metrics);
        metrics.state_file_errors
    }

    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = now() + LONG;
        while !holds(self) {
            assert!(now() < deadline, "not within {LONG:?}: {what}");
            crate::blocking::pause(Duration::from_millis(2));
        }
    }

    /// Ends the node, and returns what was logged.
    fn end(&mut self) -> Vec<String> {
        self.directory.close();
        self.thread.take().unwrap().join().unwrap()
    }
}

#[test]
fn events_are_written_within_moments_and_the_rest_at_the_end() {
    let mut rig = Rig::start(LONG, LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    rig.joins("first");
    rig.until("it is written", |rig| rig.disk.holds("first"));
    rig.joins("last");
    assert_eq!(rig.end(), [""; 0]);
    assert!(rig.disk.holds("last"));
    // All of it was synced, too.
    rig.disk.disk().cut_power(&mut fastrand::Rng::with_seed(1));
    assert!(rig.disk.holds("last"));
}

#[test]
fn many_records_are_not_kept_waiting() {
    let mut rig = Rig::start(LONG, LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    let began = now();
    (0..BATCH).for_each(|at| rig.joins(&format!("m{at}")));
    rig.until("they are written", |rig| rig.disk.holds("m63"));
    // A machine that is this slow proves nothing.
    assert!(began.elapsed() < PATIENCE || began.elapsed() > PATIENCE * 5);
    rig.end();
}

#[test]
fn a_disk_that_fails_is_told_once_counted_each_time_and_made_good() {
    let mut rig = Rig::start(Duration::from_millis(20), LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    rig.disk.disk().faults.read_only = true;
    rig.joins("meanwhile");
    rig.until("it has failed a few times", |rig| rig.errors() > 3);
    assert!(!rig.disk.holds("meanwhile"));
    rig.disk.disk().faults.read_only = false;
    rig.until("it is made good", |rig| rig.disk.holds("meanwhile"));
    let lines = rig.end();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("state file failed path=\"a path\" error="), "{}", lines[0]);
    assert!(lines[1].starts_with("state file restored path=\"a path\" node=me"), "{}", lines[1]);
}

#[test]
fn a_removed_file_is_written_anew_though_nothing_happens() {
    let mut rig = Rig::start(Duration::from_millis(20), LONG);
    rig.joins("first");
    rig.until("it is written", |rig| rig.disk.holds("first"));
    rig.disk.disk().remove();
    rig.until("it is written anew", |rig| rig.disk.holds("first"));
    assert_eq!((rig.end(), rig.errors()), (vec![], 0));
}

#[test]
fn members_that_are_not_met_are_forgotten_in_time() {
    let mut rig = Rig::start(LONG, LONG);
    rig.joins("long gone");
    rig.end();
    let mut next = Rig::start_on(rig.disk.clone(), LONG, Duration::from_millis(50));
    next.joins("new");
    let is_forgotten = |rig: &Rig| {
        let (_, found) = StateFile::read(rig.disk.clone(), ("default", "me"), 100, false).unwrap();
        found.past.members.iter().map(|member| &*member.name).eq(["new"])
    };
    next.until("it is forgotten", is_forgotten);
    next.end();
}

#[test]
fn after_events_were_lost_the_members_are_taken_anew() {
    let mut rig = Rig::start(LONG, LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    // While the disk is busy, more events come than a reader may be behind.
    let disk = Arc::clone(&rig.disk.0);
    let busy = disk.lock();
    rig.joins("first");
    (0..10_000).for_each(|at| rig.joins(&format!("m{}", at % 100)));
    rig.joins("last");
    drop(busy);
    rig.until("it is written", |rig| rig.disk.holds("last"));
    assert!(rig.disk.holds("first"));
    rig.end();
}

#[test]
fn a_panic_ends_the_keeping_and_nothing_else() {
    let mut rig = Rig::start(LONG, LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    rig.joins("panic");
    rig.until("it is counted", |rig| rig.errors() == 1);
    rig.joins("later");
    let lines = rig.end();
    assert!(lines[0].contains("a disk of this test"), "{lines:?}");
}

/// A node publishes its own *joined* with the epoch of the clock, and the later epoch only after that.
#[test]
fn a_clock_that_is_behind_never_gets_into_the_file() {
    let own = |epoch| living("me", epoch);
    let epoch =
        |disk: &Shared| StateFile::read(disk.clone(), ("default", "me"), 100, false).unwrap().1.past.epoch;
    let mut rig = Rig::start(LONG, LONG);
    rig.directory.publish(&Event::Joined { member: own(1_000) });
    rig.end();
    assert_eq!(epoch(&rig.disk), 1_000);
    let mut next = Rig::start_on(rig.disk.clone(), LONG, LONG);
    next.directory.publish(&Event::Joined { member: own(7) });
    next.end();
    assert_eq!(epoch(&next.disk), 1_000);
    let mut next = Rig::start_on(next.disk.clone(), LONG, LONG);
    next.directory.publish(&Event::Updated { member: own(1_001), previous: own(7) });
    next.end();
    assert_eq!(epoch(&next.disk), 1_001);
}

/// A node with its own clock, which is a year behind the file.
#[test]
fn a_node_is_listed_with_an_epoch_beyond_its_file_s_from_the_first_moment() {
    let path = std::env::temp_dir().join(format!("syncswim-behind-{}.state", std::process::id()));
    let ahead = wall_millis() + 365 * 24 * 3600 * 1000;
    let past = living("a", ahead);
    let (mut file, _) = StateFile::read(Disk::new(path.clone()), ("default", "a"), 9, false).unwrap();
    file.note(&Event::Joined { member: past }, 0);
    file.finish().unwrap();
    let config = GossipConfig::local("a").bind("127.0.0.1:0").state_file(&path);
    let builder = crate::Gossip::builder(config);
    let events = builder.events();
    let node = builder.start().unwrap();
    assert_eq!(node.members()[0].identity.epoch, ahead + 1);
    assert!(matches!(events.try_recv(), Ok(Event::Joined { member, .. }) if &*member.name == "a"));
    node.abort().unwrap();
    let found = StateFile::read(Disk::new(path.clone()), ("default", "a"), 9, false).unwrap().1;
    assert_eq!(found.past.epoch, ahead + 1);
    std::fs::remove_file(path).unwrap();
}

fn living(name: &str, epoch: u64) -> Member {
    Member {
        name: name.into(),
        addr: ([127, 0, 0, 1], 1).into(),
        state: MemberState::Alive,
        tags: Tags::default(),
        identity: Identity { epoch, incarnation: 0 },
        since: Time::ZERO,
        removed_by: None,
    }
}

/// A stop does not wait for a disk that hangs; when that disk works again, the file belongs to the next life.
#[test]
fn a_thread_that_was_given_up_leaves_the_file_alone() {
    let mut rig = Rig::start(LONG, LONG);
    rig.until("it is made", |rig| rig.disk.disk().file().is_some());
    let disk = Arc::clone(&rig.disk.0);
    let mut busy = disk.lock();
    rig.joins("late");
    rig.directory.close();
    let thread = rig.thread.take().unwrap();
    // As `Keeping` does: the thread waits for the disk.
    let (_running, ended) = bounded::<()>(0);
    let waits = std::thread::Builder::new().spawn(|| drop(thread.join())).unwrap();
    Keeping { ended, thread: waits, abandoned: rig.abandoned.clone() }.finish();
    busy.remove();
    drop(busy);
    rig.until("it ends", |rig| Arc::strong_count(&rig.directory) == 1);
    assert!(rig.disk.disk().file().is_none(), "nothing was put in place");
}
