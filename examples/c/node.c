/*
 * A node that prints every change, until it is interrupted.
 *
 *     cargo rustc --release --lib --features capi --crate-type cdylib,staticlib
 *     cc -Iinclude examples/c/node.c -Ltarget/release -lsyncswim -Wl,-rpath,target/release -o node
 *     ./node a 127.0.0.1:7001 &
 *     ./node b 127.0.0.1:7002 127.0.0.1:7001
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "syncswim.h"

static volatile sig_atomic_t interrupted = 0;

static void on_signal(int signal)
{
    interrupted = signal;
}

static void check(syncswim_status status, const char *what)
{
    if (status < 0) {
        fprintf(stderr, "%s: %s\n", what, syncswim_last_error());
        exit(1);
    }
}

static void print_kind(const syncswim_change *change, int kind, const char *word)
{
    size_t i, count = syncswim_change_len(change, kind);
    for (i = 0; i < count; i++)
        printf("%s %s\n", word, syncswim_change_peer(change, kind, i));
    fflush(stdout);
}

static void print_members(const syncswim_cluster *cluster)
{
    static const char *const states[] = {"alive", "suspect", "failed", "left"};
    syncswim_members *members;
    syncswim_member member;
    size_t i;

    check(syncswim_cluster_members(cluster, &members), "members");
    for (i = 0; i < syncswim_members_len(members); i++) {
        member.struct_size = sizeof member;
        check(syncswim_members_get(members, i, &member), "member");
        printf("  %s at %s is %s\n", member.name, member.addr, states[member.state]);
    }
    syncswim_members_free(members);
}

int main(int argc, char **argv)
{
    syncswim_config *config;
    syncswim_cluster *cluster;
    syncswim_membership *membership;
    syncswim_watch *watch;
    syncswim_change *change;
    syncswim_status status;
    int i;
    if (argc < 3) {
        fprintf(stderr, "usage: %s NAME BIND [JOIN...]\n", argv[0]);
        return 2;
    }
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    check(syncswim_config_new("local", argv[1], &config), "config");
    check(syncswim_config_set(config, "bind", argv[2]), "bind");
    for (i = 3; i < argc; i++)
        check(syncswim_config_set(config, "join", argv[i]), "join");
    check(syncswim_config_set(config, "peer_name", "name"), "peer_name");
    check(syncswim_cluster_new(&cluster), "cluster");
    check(syncswim_cluster_add_gossip(cluster, config), "gossip");
    syncswim_config_free(config);
    check(syncswim_cluster_membership(cluster, &membership), "membership");
    check(syncswim_membership_watch(membership, &watch), "watch");
    check(syncswim_cluster_start(cluster), "start");

    while (!interrupted) {
        status = syncswim_watch_next(watch, 250, &change);
        if (status == SYNCSWIM_CLOSED)
            break;
        if (status == SYNCSWIM_TIMEOUT)
            continue;
        print_kind(change, SYNCSWIM_ACTIVE, "active");
        print_kind(change, SYNCSWIM_LEFT, "left");
        print_kind(change, SYNCSWIM_REMOVED, "removed");
        syncswim_change_free(change);
    }
    print_members(cluster);
    check(syncswim_cluster_stop(cluster), "stop");
    check(syncswim_cluster_wait(cluster, -1), "the cluster ended");
    syncswim_watch_free(watch);
    syncswim_membership_free(membership);
    syncswim_cluster_free(cluster);
    return 0;
}
