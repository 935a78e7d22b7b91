/* What the tests share: a check that says where it failed, and a running cluster. */
#ifndef CHECK_H
#define CHECK_H

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syncswim.h"

#define CHECK(holds)                                                                                        \
    do {                                                                                                    \
        if (!(holds)) {                                                                                     \
            fprintf(stderr, "%s:%d: %s does not hold; last error: %s\n", __FILE__, __LINE__, #holds,        \
                    syncswim_last_error());                                                                 \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)

#define IS(call, expected) CHECK((call) == (expected))

/* A configuration of a node of this host, on any port. */
static inline syncswim_config *local_config(const char *name)
{
    syncswim_config *config;
    IS(syncswim_config_new("local", name, &config), SYNCSWIM_OK);
    IS(syncswim_config_set(config, "bind", "127.0.0.1:0"), SYNCSWIM_OK);
    IS(syncswim_config_set(config, "peer_name", "name"), SYNCSWIM_OK);
    return config;
}

static inline syncswim_cluster *started_with(const char *name, const char *join, const char *key)
{
    syncswim_cluster *cluster;
    syncswim_config *config = local_config(name);
    if (join != NULL)
        IS(syncswim_config_set(config, "join", join), SYNCSWIM_OK);
    if (key != NULL)
        IS(syncswim_config_set(config, "key", key), SYNCSWIM_OK);
    IS(syncswim_cluster_new(&cluster), SYNCSWIM_OK);
    IS(syncswim_cluster_add_gossip(cluster, config), SYNCSWIM_OK);
    syncswim_config_free(config);
    IS(syncswim_cluster_start(cluster), SYNCSWIM_OK);
    return cluster;
}

static inline syncswim_cluster *started(const char *name, const char *join)
{
    return started_with(name, join, NULL);
}

static inline syncswim_membership *membership_of(const syncswim_cluster *cluster)
{
    syncswim_membership *membership;
    IS(syncswim_cluster_membership(cluster, &membership), SYNCSWIM_OK);
    return membership;
}

static inline syncswim_watch *watch_of(const syncswim_membership *membership)
{
    syncswim_watch *watch;
    IS(syncswim_membership_watch(membership, &watch), SYNCSWIM_OK);
    return watch;
}

/* The address of the node itself. */
static inline void own_address(const syncswim_cluster *cluster, char *buffer, size_t size)
{
    syncswim_members *members;
    syncswim_member member;
    IS(syncswim_cluster_members(cluster, &members), SYNCSWIM_OK);
    member.struct_size = sizeof member;
    IS(syncswim_members_get(members, 0, &member), SYNCSWIM_OK);
    CHECK(member.is_local == 1);
    snprintf(buffer, size, "%s", member.addr);
    syncswim_members_free(members);
}

static inline int is_readable(int fd, int timeout)
{
    struct pollfd poll_fd;
    poll_fd.fd = fd;
    poll_fd.events = POLLIN;
    return poll(&poll_fd, 1, timeout) == 1;
}

#endif
