/*
 * syncswim: cluster membership for programs without an async runtime. Who is in the cluster, who has left, who
 * has failed.
 *
 *     syncswim_config *config;
 *     syncswim_cluster *cluster;
 *     syncswim_membership *membership;
 *     syncswim_watch *watch;
 *     syncswim_change *change;
 *
 *     syncswim_config_new("lan", "node-a", &config);
 *     syncswim_config_set(config, "bind", "0.0.0.0:7946");
 *     syncswim_config_set(config, "join", "10.0.0.5:7946");
 *     syncswim_cluster_new(&cluster);
 *     syncswim_cluster_add_gossip(cluster, config);
 *     syncswim_cluster_membership(cluster, &membership);
 *     syncswim_membership_watch(membership, &watch);
 *     if (syncswim_cluster_start(cluster) < 0) puts(syncswim_last_error());
 *     while (syncswim_watch_next(watch, -1, &change) == SYNCSWIM_OK) {
 *         ...
 *         syncswim_change_free(change);
 *     }
 *
 * How it works: a configuration describes a gossip node. A cluster has a membership, a sorted set of peers, and
 * discoveries that fill it: a fixed list, a DNS name, a gossip node. After syncswim_cluster_start they run on
 * threads of their own until syncswim_cluster_stop, and syncswim_cluster_wait waits for the end, as one joins a
 * thread. A snapshot is the set at one moment; a watch delivers the state and then every change.
 *
 * Results. A call returns a status: 0 when it is done, a positive number for an outcome that is no error, a
 * negative one for an error. Calls that return a number or a text return 0 or NULL instead. syncswim_last_error
 * has the message, of this thread, and says what to do. A call that fails changes nothing, and does not write
 * to where its result would have gone.
 *
 * Objects. What a call gives through `out` is the caller's, who frees it with the function of its kind; freeing
 * NULL does nothing. Objects live on their own: a membership, a snapshot or a watch outlives its cluster. A
 * handle that was freed, or is of another kind, is SYNCSWIM_ERR_HANDLE, not a crash. Texts that a call returns
 * belong to the object, and are valid until that is freed.
 *
 * Arguments. Texts are UTF-8 and end with NUL, unless their length is given. They and arrays are only read, and
 * only during the call. NULL where something is needed is SYNCSWIM_ERR_NULL; an array may be NULL if its count
 * is 0. Pointers that are neither NULL nor valid are the caller's mistake, and cannot be noticed.
 *
 * Threads. Every function may be called on any thread, at the same time as any other, with the same object too.
 * None keeps another waiting for long, but for those that say that they wait. Callbacks run on threads of the
 * library's own.
 *
 * Processes. After fork(), the child cannot use the library: every call is SYNCSWIM_ERR_FORKED, and frees
 * nothing. Call exec, which closes the sockets, or load the library in the child first. The library installs no
 * signal handler and no exit handler. No panic of Rust's gets out: it becomes SYNCSWIM_ERR_PANIC.
 *
 * Versions. Check once that syncswim_abi_version() >= SYNCSWIM_ABI_VERSION. Numbers and functions keep their
 * meaning; structs that are visible grow at their end only, which their struct_size tells.
 */

#ifndef SYNCSWIM_H
#define SYNCSWIM_H

#include <stddef.h>
#include <stdint.h>

/**
 * The version of this interface that a program was compiled against.
 */
#define SYNCSWIM_ABI_VERSION 1

/**
 * Peers that are active now.
 */
#define SYNCSWIM_ACTIVE 0

/**
 * Peers that left, whether they said so or failed.
 */
#define SYNCSWIM_LEFT 1

/**
 * Peers that were removed.
 */
#define SYNCSWIM_REMOVED 2

/**
 * The member answers, or no member has accused it.
 */
#define SYNCSWIM_MEMBER_ALIVE 0

/**
 * The member was accused and has some time to refute. It counts as an active peer.
 */
#define SYNCSWIM_MEMBER_SUSPECT 1

/**
 * The member did not refute in time.
 */
#define SYNCSWIM_MEMBER_FAILED 2

/**
 * The member left the cluster on purpose.
 */
#define SYNCSWIM_MEMBER_LEFT 3

/**
 * A message to this member.
 */
#define SYNCSWIM_MESSAGE_SENT 0

/**
 * A broadcast to all.
 */
#define SYNCSWIM_MESSAGE_BROADCAST 1

/**
 * Tells how many messages and broadcasts are lost.
 */
#define SYNCSWIM_MESSAGE_LOST 2

/**
 * A request, which is to be answered.
 */
#define SYNCSWIM_MESSAGE_REQUEST 3

/**
 * An answer, or why there is none.
 */
#define SYNCSWIM_MESSAGE_ANSWER 4

/**
 * The owner has this value under the key, or has set it.
 */
#define SYNCSWIM_ENTRY_SET 0

/**
 * The owner has deleted the key. It has no value.
 */
#define SYNCSWIM_ENTRY_DELETED 1

/**
 * The owner is no longer listed, or has restarted: all its keys are gone. There is no key, and no value.
 */
#define SYNCSWIM_ENTRY_OWNER_GONE 2

/**
 * The answers to a query as they arrive. Any thread may use it; if several read, each answer goes to one of them.
 */
typedef struct syncswim_answers syncswim_answers;

/**
 * Which members have a confirmed broadcast. Any thread may read it, several at a time.
 */
typedef struct syncswim_broadcast_report syncswim_broadcast_report;

/**
 * A change: the peers that are now active and were not, those that left, and those that were removed. Any thread may read
 * it, several at a time.
 */
typedef struct syncswim_change syncswim_change;

/**
 * A membership and the discoveries that fill it. Any thread may use it, several at a time; a thread that waits
 * for it does not keep others from using it.
 */
typedef struct syncswim_cluster syncswim_cluster;

/**
 * The configuration of a node. Any thread may use it, several at a time.
 */
typedef struct syncswim_config syncswim_config;

/**
 * Key-values of members: all at one moment, by owner and key, or the changes that a watch delivered. They never change; any
 * thread may read them, several at a time.
 */
typedef struct syncswim_entries syncswim_entries;

/**
 * A subscription to key-values. A slow reader delays nobody: it receives the changes from the state that it has read to the
 * latest one. Any thread may use it; it outlives its cluster, and then reports SYNCSWIM_CLOSED.
 */
typedef struct syncswim_entry_watch syncswim_entry_watch;

/**
 * An inbox. Any thread may use it; if several read, each message goes to one of them. It outlives its cluster, delivers
 * what was queued, and then reports SYNCSWIM_CLOSED.
 */
typedef struct syncswim_inbox syncswim_inbox;

/**
 * The members of a gossip cluster at one moment, this node included, by ascending name. It never changes; any
 * thread may read it, several at a time.
 */
typedef struct syncswim_members syncswim_members;

/**
 * A sorted set of peers, each either active or left. Any thread may use it, several at a time. It outlives its
 * cluster.
 */
typedef struct syncswim_membership syncswim_membership;

/**
 * A message, a request, or an answer of a member. Any thread may read it, several at a time.
 */
typedef struct syncswim_message syncswim_message;

/**
 * The requests to a topic. Any thread may use it; if several read, each request goes to one of them.
 */
typedef struct syncswim_requests syncswim_requests;

/**
 * The set at one moment. It never changes; any thread may read it, several at a time.
 */
typedef struct syncswim_snapshot syncswim_snapshot;

/**
 * A subscription to the changes of a membership. A slow reader delays nobody: the changes that it missed are folded into
 * one that leads to the same state. Any thread may use it; if several read, each change goes to one of them. It outlives
 * its cluster, delivers what was queued, and then reports SYNCSWIM_CLOSED.
 */
typedef struct syncswim_watch syncswim_watch;

/**
 * The outcome of a call: 0 is success, a positive number an outcome that is not an error, a negative one an error. The
 * numbers never change their meaning; new ones may be added.
 */
typedef int32_t syncswim_status;

/**
 * Receives a line of the log: its level, from 1 (error) to 5 (trace), and its text, valid during the call. It may be called
 * on any thread, several at a time, and must not block for long.
 */
typedef void (*syncswim_log_fn)(void *context, int level, const char *message);

/**
 * Is called once with the context of a callback when that will not be called any more.
 */
typedef void (*syncswim_release_fn)(void *context);

/**
 * Receives a change, which it must free. It is called on a thread of its own and may call any function of this library.
 */
typedef void (*syncswim_watch_fn)(void *context, struct syncswim_change *change);

/**
 * One member. Set struct_size to sizeof(struct syncswim_member) before a call: no more than that is written, so
 * that later versions can append fields.
 */
typedef struct syncswim_member {
  /**
   * The caller's sizeof.
   */
  size_t struct_size;
  /**
   * Its name. Valid until the members are freed.
   */
  const char *name;
  /**
   * Its address with port, over UDP and TCP. Valid until the members are freed.
   */
  const char *addr;
  /**
   * SYNCSWIM_MEMBER_ALIVE, SYNCSWIM_MEMBER_SUSPECT, SYNCSWIM_MEMBER_FAILED or SYNCSWIM_MEMBER_LEFT.
   */
  int state;
  /**
   * 1 for this node itself, otherwise 0.
   */
  int is_local;
  /**
   * The life of the name: milliseconds since 1970, raised above every epoch known for the name.
   */
  uint64_t epoch;
  /**
   * The version of what it says in that life: raised with each refutation and each change of tags.
   */
  uint64_t incarnation;
  /**
   * How many tags it has.
   */
  size_t tag_count;
  /**
   * The name of the member that removed it, if it left because it was removed (syncswim_cluster_remove); otherwise NULL.
   * Valid until the members are freed.
   */
  const char *removed_by;
} syncswim_member;

/**
 * One key-value. Set struct_size to sizeof(struct syncswim_entry) before a call: no more than that is written, so
 * that later versions can append fields.
 */
typedef struct syncswim_entry {
  /**
   * The caller's sizeof.
   */
  size_t struct_size;
  /**
   * SYNCSWIM_ENTRY_SET, SYNCSWIM_ENTRY_DELETED or SYNCSWIM_ENTRY_OWNER_GONE.
   */
  int kind;
  /**
   * The member that owns it. Valid until the entries are freed, as all that is pointed to.
   */
  const char *owner;
  /**
   * The key; an empty text if all of the owner are meant.
   */
  const char *key;
  /**
   * The value, and how many bytes it has.
   */
  const uint8_t *value;
  /**
   * How many bytes the value has.
   */
  size_t value_len;
  /**
   * Which of the owner's changes it was, counted from 1 in each life of the owner.
   */
  uint64_t version;
  /**
   * When it was set, by the owner's clock: milliseconds since 1970, times 65,536.
   */
  uint64_t stamp;
} syncswim_entry;

/**
 * Success.
 */
#define SYNCSWIM_OK 0

/**
 * The time was over before it happened. The call can be repeated.
 */
#define SYNCSWIM_TIMEOUT 1

/**
 * There will be no more items: the cluster has ended. All that was queued has been delivered.
 */
#define SYNCSWIM_CLOSED 2

/**
 * A pointer that must not be NULL is NULL.
 */
#define SYNCSWIM_ERR_NULL -1

/**
 * A text is not UTF-8, or holds a NUL.
 */
#define SYNCSWIM_ERR_TEXT -2

/**
 * A handle was freed already, or is of another kind.
 */
#define SYNCSWIM_ERR_HANDLE -3

/**
 * The call comes at the wrong time: before the start, after it, or after the end.
 */
#define SYNCSWIM_ERR_STATE -4

/**
 * An argument, or a value of the configuration, cannot work. The message names it.
 */
#define SYNCSWIM_ERR_CONFIG -5

/**
 * The address cannot be bound: it is taken, or not of this host.
 */
#define SYNCSWIM_ERR_BIND -6

/**
 * A name has no address.
 */
#define SYNCSWIM_ERR_RESOLVE -7

/**
 * No seed could be joined.
 */
#define SYNCSWIM_ERR_JOIN -8

/**
 * A live node has this node's name.
 */
#define SYNCSWIM_ERR_NAME_TAKEN -9

/**
 * The system refused a thread, a descriptor or the file of a recording; or the state file cannot be used.
 */
#define SYNCSWIM_ERR_SYSTEM -10

/**
 * A discovery failed in another way. The message says how.
 */
#define SYNCSWIM_ERR_DISCOVERY -11

/**
 * Something panicked inside. That is a bug in syncswim; the object should be freed.
 */
#define SYNCSWIM_ERR_PANIC -12

/**
 * This process was forked from the one that uses the library. Call exec, or use the library only there.
 */
#define SYNCSWIM_ERR_FORKED -13

/**
 * An index is beyond the end, or a number out of range.
 */
#define SYNCSWIM_ERR_RANGE -14

/**
 * This platform cannot do it.
 */
#define SYNCSWIM_ERR_UNSUPPORTED -15

/**
 * No member of that name is listed.
 */
#define SYNCSWIM_ERR_UNKNOWN_MEMBER -16

/**
 * The member has failed or left, or was not reached. It did not act; but a member that did not confirm a broadcast may have
 * received it.
 */
#define SYNCSWIM_ERR_NOT_REACHED -17

/**
 * The member has no reader for the topic. The message was not delivered.
 */
#define SYNCSWIM_ERR_NO_READER -18

/**
 * A queue at the member is full, or too much is under way in this node. The message was not delivered.
 */
#define SYNCSWIM_ERR_BUSY -19

/**
 * A size exceeds its limit. Nothing was delivered.
 */
#define SYNCSWIM_ERR_TOO_LARGE -20

/**
 * No answer came in time, or the member failed, restarted or left meanwhile: it may have acted.
 */
#define SYNCSWIM_ERR_UNANSWERED -21

/**
 * The application there refused. The message says why.
 */
#define SYNCSWIM_ERR_REFUSED -22

/**
 * The member is live, and that can be done only with a failed one.
 */
#define SYNCSWIM_ERR_STILL_LIVE -23

/**
 * The requester has given up, so the answer was not delivered.
 */
#define SYNCSWIM_ERR_TOO_LATE -24

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The message of this thread's last call that failed; an empty text if none did. Valid until the next call on
 * this thread that fails, or the thread's end. May be called at any time, after a fork as well.
 */
const char *syncswim_last_error(void);

/**
 * The library's version, as "0.1.0". A constant.
 */
const char *syncswim_version(void);

/**
 * The version of this interface in the loaded library. A program must not go on if it is less than SYNCSWIM_ABI_VERSION. It
 * rises with each addition; nothing is removed or changed.
 */
uint32_t syncswim_abi_version(void);

/**
 * Passes the library's log, up to a level from 1 (errors only) to 5 (everything), to `callback`, in place of an earlier
 * callback. NULL ends it. It is for the whole process. When a callback will not be called any more, or if this call fails,
 * `release` is called once with its context, unless it is NULL. Fails with SYNCSWIM_ERR_STATE in a process that has a Rust
 * logger already: that logger receives the log.
 */
syncswim_status syncswim_log(int level,
                             syncswim_log_fn callback,
                             void *context,
                             syncswim_release_fn release);

/**
 * Makes a configuration from a preset: "lan" (one data centre), "wan" (across the internet) or "local" (one
 * host). `name` is the node's name, unique in the cluster, of 1 to 128 bytes without control characters.
 */
syncswim_status syncswim_config_new(const char *preset, const char *name, struct syncswim_config **out);

/**
 * Sets a value. Numbers are written in decimal, durations in milliseconds (their keys end with _ms), truth as
 * "true" or "false". A value that cannot work is refused here or, if it depends on others, at the start; the
 * message names the key, and the configuration is as it was.
 *
 * Where the node is, and with whom:
 *
 * - cluster: packets of other clusters are dropped; a name like that of a node. Defaults to "default".
 * - bind: where to listen, over UDP and TCP: host:port or host, where the host is an address, a name, or, if the library
 *   was built with the feature interfaces, a network interface such as eth0. Port 0 takes any. Defaults to 0.0.0.0:7946,
 *   for the preset "local" 127.0.0.1:7946.
 * - advertise: the address that others send to, if it differs from bind; written like bind, without a port for the port of
 *   bind. A name is looked up once, at the start.
 * - join: a node to join through, as host:port, or as host for our own port. Each call adds one; they are tried for
 *   ever, each by itself. Also "dns+host:port" (A and AAAA records) and "dnssrv+_service._tcp.domain" (SRV records,
 *   with their ports), if the library was built with the feature dns-client; "file:/path", a file with one of these a
 *   line, where # begins a comment, read again each time; and "exec:command", which is run by sh -c and prints such lines
 *   within 10 seconds.
 * - attempts: rounds of trying them before the start counts as failed. Defaults to 0: for ever.
 * - tag.KEY: a tag that this node shows to all others, without control characters. All of them take at most 512 bytes.
 * - peer_name: the name of a member in the membership: "address" (the default), "name", or "tag:KEY".
 * - leave_on_stop: whether the node leaves the cluster at a stop, so that others see it as left. Defaults to true.
 * - recv_buffer: bytes of the receive buffer to ask the system for. Defaults to 4194304.
 * - record: the file of a flight recording that begins with the node. Defaults to none.
 * - record_limit: the most bytes that it takes, at least 1048576. Defaults to 67108864.
 * - state_file: a file of this node's own, in which it stores the cluster's members and their addresses: with it, the node
 *   finds the cluster again after a restart even if no seed answers. Defaults to none.
 * - rejoin_after_leave: whether it does so after a leave, too. Defaults to false.
 *
 * Who may take part:
 *
 * - key: 64 hexadecimal digits, the secret of the cluster; packets and streams are sealed with it. Further calls
 *   add keys that are understood as well. Defaults to none: all is sent in the clear.
 * - encryption: where there is a key, "require" (the default), or to turn it on in a running cluster first "accept"
 *   and then "send" on all nodes.
 * - allow: a network such as 10.0.0.0/8; each call adds one, and what comes from elsewhere is dropped. Empty adds
 *   none: then nobody is allowed. Defaults to everybody.
 *
 * The protocol's knobs, as the crate's documentation explains them: probe_interval_ms, probe_timeout_ms,
 * indirect_probes, stream_fallback, lha_probe, nacks, lha_suspicion, buddy, notice_stalls, health_max,
 * suspicion_mult, suspicion_max_mult, suspicion_confirmations, verifiers, gossip_interval_ms, gossip_fanout,
 * retransmit_mult, gossip_to_failed_ms, sync_interval_ms, reconnect_max_delay_ms, seed_max_delay_ms, leave_timeout_ms,
 * reap_failed_after_ms, reap_left_after_ms, forget_after_ms, stream_timeout_ms, max_datagram, max_members,
 * max_departed, max_reconnects, history.
 */
syncswim_status syncswim_config_set(const struct syncswim_config *config,
                                    const char *key,
                                    const char *value);

/**
 * The same with a value of `length` bytes that need not end with NUL, for languages whose strings do not.
 */
syncswim_status syncswim_config_set_bytes(const struct syncswim_config *config,
                                          const char *key,
                                          const uint8_t *value,
                                          size_t length);

/**
 * Frees a configuration; clusters that were given it keep a copy. NULL does nothing.
 */
void syncswim_config_free(struct syncswim_config *config);

/**
 * Makes a cluster with an empty membership and no discovery.
 */
syncswim_status syncswim_cluster_new(struct syncswim_cluster **out);

/**
 * Adds a fixed list of peers. Before the start only, like all discoveries.
 */
syncswim_status syncswim_cluster_add_fixed(const struct syncswim_cluster *cluster,
                                           const char *const *peers,
                                           size_t count);

/**
 * Adds the addresses of a DNS name, "host" or "host:port", looked up every `interval_ms` milliseconds; 0 stands for 30,000.
 * New addresses are added; an address that three look-ups in a row miss leaves, and is removed if the next look-up misses
 * it too. Look-ups that fail or may be incomplete do not count, and where name servers return a part of all addresses by
 * turns, no address leaves because of that. With the feature dns-client also "dns+host:port" and
 * "dnssrv+_service._tcp.domain".
 */
syncswim_status syncswim_cluster_add_dns(const struct syncswim_cluster *cluster,
                                         const char *name,
                                         uint64_t interval_ms);

/**
 * Adds a gossip node, with a copy of the configuration. At most one per cluster.
 */
syncswim_status syncswim_cluster_add_gossip(const struct syncswim_cluster *cluster,
                                            const struct syncswim_config *config);

/**
 * Binds sockets and starts the threads. A cluster that cannot start has ended; free it. It starts once.
 */
syncswim_status syncswim_cluster_start(const struct syncswim_cluster *cluster);

/**
 * Asks the cluster to stop and returns at once; syncswim_cluster_wait waits for the end. The node leaves the cluster unless
 * leave_on_stop is false. Before the start and after the end the call does nothing; a cluster that is being started stops
 * as soon as it runs.
 */
syncswim_status syncswim_cluster_stop(const struct syncswim_cluster *cluster);

/**
 * Waits until the cluster has ended and all its threads are gone: after a stop, or because a discovery failed.
 * Returns SYNCSWIM_TIMEOUT if that takes more than `timeout_ms` milliseconds (a negative number waits for
 * ever), and the discovery's error if one ended it, at each call.
 */
syncswim_status syncswim_cluster_wait(const struct syncswim_cluster *cluster,
                                      int64_t timeout_ms);

/**
 * Stops the cluster, waits for its threads and frees it; if another thread is starting it, that start ends. Its
 * memberships, snapshots and watches stay valid; the watches report SYNCSWIM_CLOSED. NULL does nothing.
 */
void syncswim_cluster_free(struct syncswim_cluster *cluster);

/**
 * Another handle of the cluster's membership, which the caller frees. Reports through it are the application's.
 */
syncswim_status syncswim_cluster_membership(const struct syncswim_cluster *cluster,
                                            struct syncswim_membership **out);

/**
 * Marks peers as active, all of them at once. This is the application's report: it decides until a discovery reports
 * something new about them.
 */
syncswim_status syncswim_membership_add(const struct syncswim_membership *membership,
                                        const char *const *peers,
                                        size_t count);

/**
 * Marks peers as left. It does nothing to peers that are not known.
 */
syncswim_status syncswim_membership_mark_left(const struct syncswim_membership *membership,
                                              const char *const *peers,
                                              size_t count);

/**
 * Marks peers as left because they failed. It does nothing to peers that are not active.
 */
syncswim_status syncswim_membership_mark_failed(const struct syncswim_membership *membership,
                                                const char *const *peers,
                                                size_t count);

/**
 * Forgets peers.
 */
syncswim_status syncswim_membership_remove(const struct syncswim_membership *membership,
                                           const char *const *peers,
                                           size_t count);

/**
 * The number of peers that is more than half of all, those that left included; 1 for an empty set. 0 if the
 * call failed.
 */
size_t syncswim_membership_majority(const struct syncswim_membership *membership);

/**
 * The set at this moment.
 */
syncswim_status syncswim_membership_snapshot(const struct syncswim_membership *membership,
                                             struct syncswim_snapshot **out);

/**
 * A subscription to all changes from now on; the first one delivered is the state at this moment.
 */
syncswim_status syncswim_membership_watch(const struct syncswim_membership *membership,
                                          struct syncswim_watch **out);

/**
 * Frees a handle of a membership. NULL does nothing.
 */
void syncswim_membership_free(struct syncswim_membership *membership);

/**
 * How many peers there are; 0 if the call failed. The active ones come first, in ascending order of their
 * bytes; then those that left, in the same order.
 */
size_t syncswim_snapshot_len(const struct syncswim_snapshot *snapshot);

/**
 * How many of them are active: the index of the first that left.
 */
size_t syncswim_snapshot_active_len(const struct syncswim_snapshot *snapshot);

/**
 * The number that is more than half of them. 0 if the call failed.
 */
size_t syncswim_snapshot_majority(const struct syncswim_snapshot *snapshot);

/**
 * A peer. The text is valid until the snapshot is freed; NULL if `index` is not below the length.
 */
const char *syncswim_snapshot_peer(const struct syncswim_snapshot *snapshot, size_t index);

/**
 * How many of the peers that left have failed: a discovery found that they stopped answering. The others announced that
 * they leave, or their source does not tell how they left. 0 if the call failed.
 */
size_t syncswim_snapshot_failed_len(const struct syncswim_snapshot *snapshot);

/**
 * A peer that failed, in ascending order of the bytes. The text is valid until the snapshot is freed; NULL if
 * `index` is not below the number of those that failed.
 */
const char *syncswim_snapshot_failed_peer(const struct syncswim_snapshot *snapshot, size_t index);

/**
 * Frees a snapshot and its texts. NULL does nothing.
 */
void syncswim_snapshot_free(struct syncswim_snapshot *snapshot);

/**
 * Waits for the next change, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for
 * ever if it is negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out`
 * is as it was.
 */
syncswim_status syncswim_watch_next(const struct syncswim_watch *watch,
                                    int64_t timeout_ms,
                                    struct syncswim_change **out);

/**
 * A descriptor for poll, select, epoll and their like: readable while a change is queued, or none will come any
 * more. Do not read from it, write to it or close it: call syncswim_watch_next with a timeout of 0. It is
 * closed when the watch is freed. Each call gives the same one. Not on Windows.
 */
syncswim_status syncswim_watch_fd(const struct syncswim_watch *watch,
                                  int *out);

/**
 * Calls `callback` on a thread of the watch's own with each change, the first one included, until the watch is freed or
 * there will be no more changes. Then, or if this call fails, `release` is called once with the context, unless it is NULL.
 * A watch has one callback at most, and none together with a descriptor.
 *
 * syncswim_watch_free waits for a callback that is under way, unless it is called from it.
 */
syncswim_status syncswim_watch_callback(const struct syncswim_watch *watch,
                                        syncswim_watch_fn callback,
                                        void *context,
                                        syncswim_release_fn release);

/**
 * Cancels the watch and frees it. A call that waits for it on another thread is not woken by this; use time-outs. NULL does
 * nothing.
 */
void syncswim_watch_free(struct syncswim_watch *watch);

/**
 * How many peers of a kind (SYNCSWIM_ACTIVE, SYNCSWIM_LEFT or SYNCSWIM_REMOVED) a change has; 0 if the call
 * failed.
 */
size_t syncswim_change_len(const struct syncswim_change *change, int kind);

/**
 * A peer, in ascending order of the bytes. The text is valid until the change is freed; NULL if there is none.
 */
const char *syncswim_change_peer(const struct syncswim_change *change,
                                 int kind,
                                 size_t index);

/**
 * Frees a change and its texts. NULL does nothing.
 */
void syncswim_change_free(struct syncswim_change *change);

/**
 * The members at this moment. The cluster must have a gossip node and be started.
 */
syncswim_status syncswim_cluster_members(const struct syncswim_cluster *cluster,
                                         struct syncswim_members **out);

/**
 * The members that a filter matches, in any state. A filter is a text of conditions that all must hold, with commas between
 * them: "role=db" and "role=db|cache" for a tag's value, "version=2.*" for its beginning, "@name=a|b", "@others" for all
 * but this node, and "!" before a condition that must not hold. An empty filter matches all. SYNCSWIM_ERR_CONFIG if the
 * text is not a filter.
 */
syncswim_status syncswim_cluster_members_matching(const struct syncswim_cluster *cluster,
                                                  const char *filter,
                                                  struct syncswim_members **out);

/**
 * The live members that a filter matches and whose round-trip time this node has measured: the nearest first, not in the
 * order of their names, and at most `most`. Members whose times differ by less than a millisecond or an eighth count as
 * equally near. For the filter see syncswim_cluster_members_matching, for the times syncswim_cluster_rtt.
 */
syncswim_status syncswim_cluster_nearest(const struct syncswim_cluster *cluster,
                                         const char *filter,
                                         size_t most,
                                         struct syncswim_members **out);

/**
 * The round-trip time to a member in microseconds, and how many milliseconds ago this node measured it: the second smallest
 * time of its last four probes. If it has measured none yet, as for itself, `age_ms` becomes UINT64_MAX and `micros` 0.
 * SYNCSWIM_ERR_UNKNOWN_MEMBER if no member of that name is listed.
 */
syncswim_status syncswim_cluster_rtt(const struct syncswim_cluster *cluster,
                                     const char *name,
                                     uint64_t *micros,
                                     uint64_t *age_ms);

/**
 * How many members there are; 0 if the call failed.
 */
size_t syncswim_members_len(const struct syncswim_members *members);

/**
 * Writes a member into `out`, whose struct_size must be set.
 */
syncswim_status syncswim_members_get(const struct syncswim_members *members,
                                     size_t index,
                                     struct syncswim_member *out);

/**
 * The value of a member's tag, valid until the members are freed; NULL if it has none of that key.
 */
const char *syncswim_members_tag(const struct syncswim_members *members, size_t index, const char *key);

/**
 * The key of a member's tag by its place, below tag_count, in ascending order; NULL beyond. Valid until the
 * members are freed.
 */
const char *syncswim_members_tag_key(const struct syncswim_members *members, size_t index, size_t tag);

/**
 * Frees the members and their texts. NULL does nothing.
 */
void syncswim_members_free(struct syncswim_members *members);

/**
 * Replaces the tags that this node shows to the cluster: at most 512 bytes in all, each key once, none empty, and no
 * control characters.
 */
syncswim_status syncswim_cluster_set_tags(const struct syncswim_cluster *cluster,
                                          const char *const *keys,
                                          const char *const *values,
                                          size_t count);

/**
 * Contacts seeds, host:port each, and waits until the first is reached; the node tries them again later. Seeds that are
 * known beforehand are better given to the configuration, as "join".
 */
syncswim_status syncswim_cluster_join(const struct syncswim_cluster *cluster,
                                      const char *const *seeds,
                                      size_t count);

/**
 * Leaves the cluster and waits until some members have acknowledged it, at most leave_timeout_ms; SYNCSWIM_TIMEOUT if none
 * did. The node goes on answering until the cluster is stopped, but cannot join again.
 */
syncswim_status syncswim_cluster_leave(const struct syncswim_cluster *cluster);

/**
 * Removes a failed member from the cluster, in the views of all: it counts as left, or with `reap` other than 0 it is
 * reaped at once: not listed any more, and no member tries to reach it again. A member that is in fact alive, or is
 * restarted, is listed again. SYNCSWIM_ERR_STILL_LIVE if it is live, SYNCSWIM_ERR_UNKNOWN_MEMBER if it is not listed.
 */
syncswim_status syncswim_cluster_remove(const struct syncswim_cluster *cluster,
                                        const char *name,
                                        int reap);

/**
 * Reads one of the node's counters and gauges by its name; syncswim_metric_name lists them. Histograms are in
 * syncswim_cluster_prometheus_text alone.
 */
syncswim_status syncswim_cluster_metric(const struct syncswim_cluster *cluster,
                                        const char *name,
                                        uint64_t *out);

/**
 * The name of a metric by its place, from 0 on; NULL beyond the last. A constant.
 */
const char *syncswim_metric_name(size_t index);

/**
 * Writes all of the node's metrics into `buffer`, which has `size` bytes, in the text format of Prometheus, version
 * 0.0.4, with these labels on each line: what a /metrics page shows. Its Content-Type is
 * "text/plain; version=0.0.4; charset=utf-8". The text ends with NUL; `needed` becomes how many bytes it takes with it.
 * If it does not fit, nothing is written and the call fails with SYNCSWIM_ERR_RANGE: try again with some more than
 * `needed`, because the next text may be longer; 32768 bytes are enough where the labels are short. Labels that
 * Prometheus would refuse are SYNCSWIM_ERR_CONFIG.
 */
syncswim_status syncswim_cluster_prometheus_text(const struct syncswim_cluster *cluster,
                                                 const char *const *keys,
                                                 const char *const *values,
                                                 size_t count,
                                                 char *buffer,
                                                 size_t size,
                                                 size_t *needed);

/**
 * The name of the member that sent it. Valid until it is freed; NULL if the call failed.
 */
const char *syncswim_message_from(const struct syncswim_message *message);

/**
 * The sender's life: the epoch in syncswim_member. 0 if the call failed.
 */
uint64_t syncswim_message_epoch(const struct syncswim_message *message);

/**
 * The topic that it was sent to; empty for an answer. Valid until it is freed; NULL if the call failed.
 */
const char *syncswim_message_topic(const struct syncswim_message *message);

/**
 * Its bytes, syncswim_message_len of them. Valid until it is freed; NULL if the call failed.
 */
const uint8_t *syncswim_message_payload(const struct syncswim_message *message);

/**
 * How many bytes it has; 0 if the call failed.
 */
size_t syncswim_message_len(const struct syncswim_message *message);

/**
 * Its kind: SYNCSWIM_MESSAGE_SENT and those that follow. -1 if the call failed.
 */
int syncswim_message_kind(const struct syncswim_message *message);

/**
 * SYNCSWIM_OK, except for a result of a query that is not an answer. That one has the same errors as
 * syncswim_cluster_request: SYNCSWIM_ERR_REFUSED, SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY, SYNCSWIM_ERR_TOO_LARGE;
 * SYNCSWIM_ERR_UNANSWERED if the member was asked and may have acted, SYNCSWIM_ERR_NOT_REACHED if it was not reached, so
 * that it has not acted. The payload says why, in words.
 */
syncswim_status syncswim_message_status(const struct syncswim_message *message);

/**
 * How many messages and broadcasts of that member are lost for the inbox, because it was full, or because broadcasts did
 * not arrive and never will. Such a message has no topic and no payload; it has no sender if it counts losses of many
 * members together. 0 if it is another kind of message, or if the call failed.
 */
uint64_t syncswim_message_lost(const struct syncswim_message *message);

/**
 * The number of a broadcast in an inbox, which its sender counts from 1 in each of its lives. 0 if it is not a broadcast,
 * or if the call failed.
 */
uint64_t syncswim_message_seq(const struct syncswim_message *message);

/**
 * The stamp of a broadcast, which orders the broadcasts of all senders as far as they had received each other's:
 * milliseconds since 1970 by its sender's clock, times 65,536, or more if its sender had received a greater one. 0 as for
 * syncswim_message_seq.
 */
uint64_t syncswim_message_stamp(const struct syncswim_message *message);

/**
 * How many broadcasts of its sender just before this one are missing; they may still arrive late. 0 as for
 * syncswim_message_seq.
 */
uint64_t syncswim_message_gap(const struct syncswim_message *message);

/**
 * 1 if later broadcasts of its sender were delivered before this one. 0 if not, and as for syncswim_message_seq.
 */
int syncswim_message_late(const struct syncswim_message *message);

/**
 * Frees it. A request that was not answered is thereby refused. NULL does nothing.
 */
void syncswim_message_free(struct syncswim_message *message);

/**
 * Sends a message to a member, and waits until it is in that member's inboxes for the topic: only then the call returns
 * SYNCSWIM_OK. Waits for at most `timeout_ms` milliseconds, or a day if it is negative; 0 is an error.
 * SYNCSWIM_ERR_UNANSWERED says that the message may have arrived; SYNCSWIM_ERR_UNKNOWN_MEMBER, SYNCSWIM_ERR_NOT_REACHED,
 * SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY and SYNCSWIM_ERR_TOO_LARGE (the limit is 1 MiB) say that it has not.
 */
syncswim_status syncswim_cluster_send(const struct syncswim_cluster *cluster,
                                      const char *member,
                                      const char *topic,
                                      const uint8_t *payload,
                                      size_t length,
                                      int64_t timeout_ms);

/**
 * Sends a request to a member, and waits for the answer of its application, which the caller frees. Errors as for
 * syncswim_cluster_send, and SYNCSWIM_ERR_REFUSED if the application there refuses.
 */
syncswim_status syncswim_cluster_request(const struct syncswim_cluster *cluster,
                                         const char *member,
                                         const char *topic,
                                         const uint8_t *payload,
                                         size_t length,
                                         int64_t timeout_ms,
                                         struct syncswim_message **out);

/**
 * Opens an inbox for the messages that members send to a topic from now on. A text with "*" behind it stands for all topics
 * that begin with the text, "*" alone for all topics. The inbox holds up to 1,024 messages of one host, and about 4 MiB of
 * them, but no more than the messages of all hosts leave free of 2,048 and of 8 MiB; and as many broadcasts. Messages that
 * arrive while it is full are lost for it (syncswim_message_lost), or refused with SYNCSWIM_ERR_BUSY if no other inbox
 * takes them. The 65th inbox is refused with SYNCSWIM_ERR_BUSY.
 */
syncswim_status syncswim_cluster_inbox(const struct syncswim_cluster *cluster,
                                       const char *topics,
                                       struct syncswim_inbox **out);

/**
 * Waits for the next message, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for ever if it is
 * negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out` is as it was.
 */
syncswim_status syncswim_inbox_next(const struct syncswim_inbox *inbox,
                                    int64_t timeout_ms,
                                    struct syncswim_message **out);

/**
 * A descriptor as that of syncswim_watch_fd: readable while a message waits, or none will come any more.
 */
syncswim_status syncswim_inbox_fd(const struct syncswim_inbox *inbox, int *out);

/**
 * Closes an inbox and frees it. NULL does nothing.
 */
void syncswim_inbox_free(struct syncswim_inbox *inbox);

/**
 * Serves a topic: the program answers the requests that members send to it. Several services of one topic share its
 * requests. While 256 requests wait, or 4 MiB, senders get SYNCSWIM_ERR_BUSY. Topics that begin with "syncswim/" are the
 * node's own.
 */
syncswim_status syncswim_cluster_serve(const struct syncswim_cluster *cluster,
                                       const char *topic,
                                       struct syncswim_requests **out);

/**
 * Waits for the next request, as syncswim_inbox_next does. If the program frees it unanswered, its sender gets a refusal.
 */
syncswim_status syncswim_requests_next(const struct syncswim_requests *requests,
                                       int64_t timeout_ms,
                                       struct syncswim_message **out);

/**
 * A descriptor as that of syncswim_watch_fd: readable while a request waits, or none will come any more. A request that made it
 * readable counts as read: if the service is freed, its sender gets a refusal.
 */
syncswim_status syncswim_requests_fd(const struct syncswim_requests *requests,
                                     int *out);

/**
 * Ends the service and frees it. If it was the last of its topic, the requests that wait are refused with
 * SYNCSWIM_ERR_NO_READER. NULL does nothing.
 */
void syncswim_requests_free(struct syncswim_requests *requests);

/**
 * Answers a request, once: SYNCSWIM_ERR_STATE if it is not a request, or was answered. SYNCSWIM_ERR_TOO_LATE if its sender
 * has given up. SYNCSWIM_OK says that the answer is on its way.
 */
syncswim_status syncswim_request_answer(const struct syncswim_message *request,
                                        const uint8_t *payload,
                                        size_t length);

/**
 * Refuses a request, once. The reason is cut to 512 bytes. Errors as for syncswim_request_answer.
 */
syncswim_status syncswim_request_refuse(const struct syncswim_message *request, const char *reason);

/**
 * Asks all live members that a filter matches: "" for all, this node included; "role=db,!zone=a"; "@others" for all but
 * this node. syncswim_answers_next returns one result for each.
 */
syncswim_status syncswim_cluster_query(const struct syncswim_cluster *cluster,
                                       const char *filter,
                                       const char *topic,
                                       const uint8_t *payload,
                                       size_t length,
                                       int64_t timeout_ms,
                                       struct syncswim_answers **out);

/**
 * Waits for the next result of a query, as syncswim_inbox_next does; syncswim_message_status says whether it is an answer.
 * SYNCSWIM_CLOSED: each member has had its result.
 */
syncswim_status syncswim_answers_next(const struct syncswim_answers *answers,
                                      int64_t timeout_ms,
                                      struct syncswim_message **out);

/**
 * A descriptor as that of syncswim_watch_fd: readable while a result waits, or none will come any more.
 */
syncswim_status syncswim_answers_fd(const struct syncswim_answers *answers, int *out);

/**
 * Frees the results of a query. A query that is not over is cancelled: members that were not asked yet will not be. NULL
 * does nothing.
 */
void syncswim_answers_free(struct syncswim_answers *answers);

/**
 * Sends a payload to every member, this node included, and returns at once. It arrives in the inboxes for the topic, at
 * every member that stays connected for a minute, once and in the order of this node's calls. A payload has at most 512
 * bytes (SYNCSWIM_ERR_TOO_LARGE); a node may broadcast 50 times a second and 256 times at once (SYNCSWIM_ERR_BUSY). If
 * `newest` is not 0, it takes the place of an earlier such broadcast to the topic in a full inbox. `number` is set to the
 * broadcast's number in this life of the node.
 */
syncswim_status syncswim_cluster_broadcast(const struct syncswim_cluster *cluster,
                                           const char *topic,
                                           const uint8_t *payload,
                                           size_t length,
                                           int newest,
                                           uint64_t *number);

/**
 * The same, and waits until all members that are live now have confirmed it (of more than 256 members, a sample), for at
 * most `timeout_ms` milliseconds; 0 is an error. The report, which the caller frees, names the members that have not
 * confirmed it. The payload may have 1 MiB less 64 bytes; one of more than 512 bytes costs a stream for each member, and a
 * member that is not reached in time does not get it later.
 */
syncswim_status syncswim_cluster_broadcast_confirmed(const struct syncswim_cluster *cluster,
                                                     const char *topic,
                                                     const uint8_t *payload,
                                                     size_t length,
                                                     int64_t timeout_ms,
                                                     struct syncswim_broadcast_report **out);

/**
 * How many members confirmed it; 0 if the call failed.
 */
size_t syncswim_broadcast_report_reached(const struct syncswim_broadcast_report *report);

/**
 * How many of these confirmed it only after it was sent to them directly; 0 if the call failed.
 */
size_t syncswim_broadcast_report_repaired(const struct syncswim_broadcast_report *report);

/**
 * The microseconds until half of these had confirmed it; 0 if there are none, or if the call failed.
 */
uint64_t syncswim_broadcast_report_p50(const struct syncswim_broadcast_report *report);

/**
 * The microseconds until 99 of 100 had confirmed it; 0 as for syncswim_broadcast_report_p50.
 */
uint64_t syncswim_broadcast_report_p99(const struct syncswim_broadcast_report *report);

/**
 * How many members did not confirm it; 0 if the call failed.
 */
size_t syncswim_broadcast_report_missing(const struct syncswim_broadcast_report *report);

/**
 * The name of the i-th member that did not confirm it, in ascending order. Valid until the report is freed; NULL if the
 * call failed.
 */
const char *syncswim_broadcast_report_name(const struct syncswim_broadcast_report *report,
                                           size_t i);

/**
 * Why that member did not confirm it: SYNCSWIM_ERR_UNANSWERED if it is live and did not answer, SYNCSWIM_ERR_NOT_REACHED if
 * it failed or left meanwhile, SYNCSWIM_ERR_STATE if this node left. In all cases it may have received the broadcast.
 */
syncswim_status syncswim_broadcast_report_why(const struct syncswim_broadcast_report *report,
                                              size_t i);

/**
 * Frees a report. NULL does nothing.
 */
void syncswim_broadcast_report_free(struct syncswim_broadcast_report *report);

/**
 * Sets a key of this node's own map. Only this node writes there, and every member reads it: see syncswim_cluster_entries.
 * Fails with SYNCSWIM_ERR_TOO_LARGE beyond 64 bytes of a key, 15,360 of a value, 256 keys, or 64 KiB of all keys and
 * values; with SYNCSWIM_ERR_BUSY beyond 10 changes a second, 64 at once. `version` is set to the number of this change in
 * this life of the node; it may be NULL. The map is empty after a restart.
 */
syncswim_status syncswim_cluster_set(const struct syncswim_cluster *cluster,
                                     const char *key,
                                     const uint8_t *value,
                                     size_t value_len,
                                     uint64_t *version);

/**
 * Deletes a key of this node's own map. A key that does not exist is not an error.
 */
syncswim_status syncswim_cluster_delete(const struct syncswim_cluster *cluster, const char *key);

/**
 * All key-values of the listed members at this moment, live or not, this node's own among them, by owner and key.
 */
syncswim_status syncswim_cluster_entries(const struct syncswim_cluster *cluster,
                                         struct syncswim_entries **out);

/**
 * How many there are; 0 if the call failed.
 */
size_t syncswim_entries_len(const struct syncswim_entries *entries);

/**
 * The index of an owner's key; with NULL for the owner, of the key of the owner that set it last. The length if there is
 * none, or if the call failed.
 */
size_t syncswim_entries_find(const struct syncswim_entries *entries,
                             const char *owner,
                             const char *key);

/**
 * Writes one entry into `out`, whose struct_size must be set.
 */
syncswim_status syncswim_entries_get(const struct syncswim_entries *entries,
                                     size_t index,
                                     struct syncswim_entry *out);

/**
 * Frees entries and all that they point to. NULL does nothing.
 */
void syncswim_entries_free(struct syncswim_entries *entries);

/**
 * Follows a key of all members, or all keys if it is NULL. The first changes lead from nothing to the present state.
 */
syncswim_status syncswim_cluster_watch_entries(const struct syncswim_cluster *cluster,
                                               const char *key,
                                               struct syncswim_entry_watch **out);

/**
 * Waits for the next changes, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for ever if it
 * is negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out` is as it was.
 */
syncswim_status syncswim_entry_watch_next(const struct syncswim_entry_watch *watch,
                                          int64_t timeout_ms,
                                          struct syncswim_entries **out);

/**
 * A descriptor as that of syncswim_watch_fd: readable while a change waits, or none will come any more.
 */
syncswim_status syncswim_entry_watch_fd(const struct syncswim_entry_watch *watch, int *out);

/**
 * Cancels the watch and frees it. A call that waits for it on another thread is not woken by this; use time-outs. NULL does
 * nothing.
 */
void syncswim_entry_watch_free(struct syncswim_entry_watch *watch);

/**
 * Writes the status of the node into `buffer`, which has `size` bytes: one line, beginning with "starting", "joined",
 * "alone", "unreachable", "away", "displaced", "leaving" or "ended"; then the number of live members, its health score,
 * what keeps others from reaching it, and with a key how many members' clocks are off and by how much, or by how much its
 * own is. After "displaced" comes the address of the node that holds its name. The text ends with NUL; `needed` becomes
 * the number of bytes that it takes with the NUL. If it does not fit, nothing is written and the call fails with
 * SYNCSWIM_ERR_RANGE.
 */
syncswim_status syncswim_cluster_status(const struct syncswim_cluster *cluster,
                                        char *buffer,
                                        size_t size,
                                        size_t *needed);

/**
 * Writes an explanation of a member's state into `buffer`, which has `size` bytes, in several lines: this node's probes of
 * the member, accusations, refutations and verdicts that it received, and its own stalls and failed probes meanwhile, as
 * far as it remembers (the key "history" of the configuration). A name that is not listed is not an error: the text says
 * so. The text ends with NUL; `needed` becomes the number of bytes that it takes with the NUL. If it does not fit, nothing
 * is written and the call fails with SYNCSWIM_ERR_RANGE: try again with some more than `needed`, because the next text may
 * be longer.
 */
syncswim_status syncswim_cluster_explain(const struct syncswim_cluster *cluster,
                                         const char *member,
                                         char *buffer,
                                         size_t size,
                                         size_t *needed);

/**
 * Records the node's inputs and outputs to the file `path`, from now on: the latest that fit in `limit` bytes, which
 * must be at least 1048576. An existing file is renamed, with ".old" behind its name. NULL ends the recording, whatever
 * the limit. Programs run the node again from the file (docs/operating/RECORDING.md). The file contains names, addresses
 * and tags, but no keys; only its owner may read it. Fails with SYNCSWIM_ERR_SYSTEM if it cannot be written.
 */
syncswim_status syncswim_cluster_record(const struct syncswim_cluster *cluster,
                                        const char *path,
                                        uint64_t limit);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SYNCSWIM_H */
