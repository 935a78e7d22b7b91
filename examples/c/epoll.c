/*
 * A node in an event loop with other descriptors: here the standard input, whose lines are tags to show, and a
 * timer. The end of the input ends the program. Linux only; build it as node.c.
 *
 *     ./epoll a 127.0.0.1:7001
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "syncswim.h"

static void check(int holds, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s: %s\n", what, syncswim_last_error());
        exit(1);
    }
}

static void add(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    check(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0, "epoll");
}

/* Takes all changes that are queued; returns 0 when there will be no more. */
static int on_changes(syncswim_watch *watch)
{
    syncswim_change *change;
    syncswim_status status;

    while ((status = syncswim_watch_next(watch, 0, &change)) == SYNCSWIM_OK) {
        printf("%zu active, %zu left, %zu removed\n", syncswim_change_len(change, SYNCSWIM_ACTIVE),
               syncswim_change_len(change, SYNCSWIM_LEFT), syncswim_change_len(change, SYNCSWIM_REMOVED));
        syncswim_change_free(change);
    }
    return status == SYNCSWIM_TIMEOUT;
}

/* A line is the value of our tag "note"; returns 0 at the end of the input. */
static int on_input(syncswim_cluster *cluster)
{
    char line[256];
    const char *key = "note", *value = line;

    if (fgets(line, sizeof line, stdin) == NULL)
        return 0;
    line[strcspn(line, "\n")] = 0;
    check(syncswim_cluster_set_tags(cluster, &key, &value, 1) == SYNCSWIM_OK, "tags");
    printf("showing %s\n", line);
    return 1;
}

static void on_timer(int timer, syncswim_cluster *cluster)
{
    uint64_t expirations, sent;
    check(read(timer, &expirations, sizeof expirations) == sizeof expirations, "timer");
    check(syncswim_cluster_metric(cluster, "datagrams_sent", &sent) == SYNCSWIM_OK, "metric");
    printf("%llu datagrams sent\n", (unsigned long long)sent);
}

int main(int argc, char **argv)
{
    const struct itimerspec every_second = {{1, 0}, {1, 0}};
    syncswim_config *config;
    syncswim_cluster *cluster;
    syncswim_membership *membership;
    syncswim_watch *watch;
    struct epoll_event event;
    int fd, epoll = epoll_create1(EPOLL_CLOEXEC), timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    int running = 1;

    if (argc < 3) {
        fprintf(stderr, "usage: %s NAME BIND [JOIN]\n", argv[0]);
        return 2;
    }
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    check(syncswim_config_new("local", argv[1], &config) == SYNCSWIM_OK, "config");
    check(syncswim_config_set(config, "bind", argv[2]) == SYNCSWIM_OK, "bind");
    if (argc > 3)
        check(syncswim_config_set(config, "join", argv[3]) == SYNCSWIM_OK, "join");
    check(syncswim_cluster_new(&cluster) == SYNCSWIM_OK, "cluster");
    check(syncswim_cluster_add_gossip(cluster, config) == SYNCSWIM_OK, "gossip");
    check(syncswim_cluster_membership(cluster, &membership) == SYNCSWIM_OK, "membership");
    check(syncswim_membership_watch(membership, &watch) == SYNCSWIM_OK, "watch");
    check(syncswim_watch_fd(watch, &fd) == SYNCSWIM_OK, "descriptor");
    check(syncswim_cluster_start(cluster) == SYNCSWIM_OK, "start");
    check(timerfd_settime(timer, 0, &every_second, NULL) == 0, "timer");
    add(epoll, fd);
    add(epoll, STDIN_FILENO);
    add(epoll, timer);

    while (running && epoll_wait(epoll, &event, 1, -1) == 1) {
        if (event.data.fd == fd)
            running = on_changes(watch);
        else if (event.data.fd == STDIN_FILENO)
            running = on_input(cluster);
        else
            on_timer(timer, cluster);
    }
    syncswim_cluster_free(cluster); /* says good-bye, and waits for the threads */
    syncswim_watch_free(watch);
    syncswim_membership_free(membership);
    syncswim_config_free(config);
    return 0;
}
