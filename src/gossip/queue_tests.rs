//! The rules of the queue, one test each, without threads or time.

use std::time::Duration;

use super::*;

const LIMITS: Limits = Limits { threads: 4, waiting: 8, recalls: true };

fn host(n: u8) -> Account {
    account_of(IpAddr::from([10, 0, 0, n]))
}

/// Jobs are named after their account, which is their tens.
fn push(queue: &mut Queue<u8>, job: u8) -> Option<u8> {
    queue.push(host(job / 10), None, job)
}

fn queue(jobs: impl IntoIterator<Item = u8>) -> Queue<u8> {
    let mut queue = Queue::new(LIMITS);
    for job in jobs {
        assert_eq!(push(&mut queue, job), None);
    }
    queue
}

fn start(queue: &mut Queue<u8>) -> Vec<(Place, u8)> {
    std::iter::from_fn(|| queue.next()).collect()
}

fn names(running: &[(Place, u8)]) -> Vec<u8> {
    running.iter().map(|(_, job)| *job).collect()
}

fn recalled(running: &[(Place, u8)]) -> Vec<u8> {
    running.iter().filter(|(place, _)| place.is_recalled()).map(|(_, job)| *job).collect()
}

#[test]
fn all_addresses_of_an_ipv6_host_are_one_account() {
    let of = |text: &str| account_of(text.parse().unwrap());
    assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
    assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
    assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
}

#[test]
fn an_account_may_have_every_place_that_no_other_wants() {
    let mut queue = queue([10, 11, 12, 13]);
    assert_eq!(names(&start(&mut queue)), [10, 11, 12, 13]);
    for job in 0..8 {
        assert_eq!(push(&mut queue, 10 + job), None);
    }
    assert_eq!(push(&mut queue, 19), Some(19), "but no more than there is");
}

#[test]
fn accounts_take_turns() {
    let mut queue = queue([10, 11, 12, 13, 20, 30]);
    let running = start(&mut queue);
    assert_eq!(names(&running), [10, 20, 30, 11]);
    for (place, _) in &running {
        queue.end(place);
    }
    assert_eq!(push(&mut queue, 40), None);
    assert_eq!(names(&start(&mut queue)), [12, 40, 13], "12 has waited longest");
}

#[test]
fn an_account_that_was_served_waits_behind_accounts_that_were_not() {
    let limits = Limits { threads: 1, ..LIMITS };
    let mut queue = Queue::new(limits);
    for job in [10, 11, 12, 20] {
        push(&mut queue, job);
    }
    let mut served = Vec::new();
    while let Some((place, job)) = queue.next() {
        served.push(job);
        queue.end(&place);
    }
    assert_eq!(served, [10, 20, 11, 12]);
}

#[test]
fn no_more_run_than_there_are_threads() {
    let mut queue = queue([10, 20, 30, 40, 50]);
    let running = start(&mut queue);
    assert_eq!(running.len(), 4);
    assert!(queue.next().is_none());
    queue.end(&running[2].0);
    assert_eq!(queue.next().map(|(_, job)| job), Some(50));
}

#[test]
fn two_accounts_that_hold_every_thread_give_one_back_to_a_third() {
    let mut queue = queue([10, 20, 11, 21]);
    let running = start(&mut queue);
    assert_eq!(running.len(), 4);
    push(&mut queue, 12);
    assert!(recalled(&running).is_empty(), "one that has its share waits");
    push(&mut queue, 30);
    let [one] = recalled(&running)[..] else { panic!("one of them") };
    assert!([10, 20].contains(&one), "the oldest of an account: {one}");
    push(&mut queue, 31);
    assert_eq!(recalled(&running).len(), 1, "an account is short of one place only");
    push(&mut queue, 40);
    assert_eq!(recalled(&running), [10, 20], "the next of the other account");
    push(&mut queue, 50);
    assert_eq!(recalled(&running), [10, 20], "all others have no more than their share");
}

#[test]
fn a_recalled_place_goes_to_the_account_that_it_was_recalled_for() {
    let mut queue = queue([10, 11, 12, 13]);
    let running = start(&mut queue);
    push(&mut queue, 14);
    push(&mut queue, 20);
    assert_eq!(recalled(&running), [10]);
    queue.end(&running[0].0);
    assert_eq!(queue.next().map(|(_, job)| job), Some(20));
    assert_eq!(recalled(&running), [10], "and no other is recalled");
}

#[test]
fn places_are_recalled_for_jobs_that_come_while_threads_are_still_free() {
    let mut queue = queue([10, 11, 12]);
    let mut running = start(&mut queue);
    push(&mut queue, 20);
    push(&mut queue, 30);
    assert!(recalled(&running).is_empty());
    running.extend(start(&mut queue));
    assert_eq!((names(&running), recalled(&running)), (vec![10, 11, 12, 20], vec![10]));
}

#[test]
fn a_queue_that_recalls_nothing_lets_jobs_end() {
    let mut queue = Queue::new(Limits { recalls: false, ..LIMITS });
    for job in [10, 11, 12, 13] {
        push(&mut queue, job);
    }
    let running = start(&mut queue);
    push(&mut queue, 20);
    assert!(recalled(&running).is_empty());
}

#[test]
fn a_full_queue_takes_in_others_at_the_cost_of_the_account_that_fills_it() {
    let mut queue = queue([10, 11, 12, 13, 20, 21, 22, 23]);
    assert_eq!(push(&mut queue, 30), Some(23), "the last of a largest account");
    assert_eq!(push(&mut queue, 31), Some(13));
    assert_eq!(push(&mut queue, 32), Some(32), "3, 3 and 2 is fair");
    assert_eq!(push(&mut queue, 14), Some(14));
    assert_eq!(push(&mut queue, 40), Some(22));
    assert_eq!(queue.waiting(), 8);
    assert_eq!(queue.take_waiting(), [10, 11, 12, 20, 21, 30, 31, 40]);
}

#[test]
fn a_full_queue_of_many_accounts_refuses_one_more() {
    let mut queue = queue([10, 20, 30, 40, 50, 60, 70, 80]);
    assert_eq!(push(&mut queue, 90), Some(90));
}

#[test]
fn jobs_that_have_waited_too_long_are_taken_out() {
    #[expect(clippy::disallowed_methods, reason = "any instant will do")]
    let start = Instant::now();
    let at = |secs| start + Duration::from_secs(secs);
    let mut queue = Queue::new(LIMITS);
    for (job, until) in [(1, Some(at(5))), (2, None), (3, Some(at(3))), (4, Some(at(9)))] {
        queue.push(host(1), until, job);
    }
    assert_eq!(queue.take_late(at(2)), []);
    assert_eq!(queue.take_late(at(5)), [1, 3]);
    assert_eq!(queue.take_late(at(5)), []);
    assert_eq!(queue.take_waiting(), [2, 4]);
}
