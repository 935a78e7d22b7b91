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
