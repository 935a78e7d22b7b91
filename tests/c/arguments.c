/* Every function with every argument NULL or wrong: an error that says so, and nothing lost. */
#include "check.h"

static int here;

static void *wrong(void)
{
    return &here;
}

static void nothing(void *context, syncswim_change *change)
{
    (void)context;
    syncswim_change_free(change);
}

static void log_nothing(void *context, int level, const char *message)
{
    (void)context;
    (void)level;
    (void)message;
}

static int released;

static void release(void *context)
{
    CHECK(context == &here);
    released++;
}

static void configurations(void)
{
    const char *bad = "\xff\xfe";
    static const char *const values[][2] = {
        {"no_such_key", "1"},         {"bind", "http://db:1"},        {"bind", "127.0.0.1:x"},
        {"advertise", "a b:1"},       {"attempts", "-1"},             {"attempts", "many"},
        {"peer_name", "shoe size"},   {"peer_name", "tag:"},          {"leave_on_stop", "yes"},
        {"probe_interval_ms", "1.5"}, {"suspicion_mult", ""},         {"recv_buffer", "-5"},
        {"stream_fallback", "TRUE"},  {"max_members", "99999999999999999999"}, {"", ""},
        {"key", "0011223344"},        {"key", ""},                    {"allow", "10.0.0.0/33"},
        {"encryption", "maybe"},
    };
    char large[1000];
    size_t i;
    syncswim_config *config = NULL;

    IS(syncswim_config_new(NULL, "n", &config), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_new("lan", NULL, &config), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_new("lan", "n", NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_new("mars", "n", &config), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_config_new("lan", "", &config), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_config_new("lan", bad, &config), SYNCSWIM_ERR_TEXT);
    CHECK(config == NULL);

    IS(syncswim_config_new("lan", "n", &config), SYNCSWIM_OK);
    IS(syncswim_config_set(NULL, "bind", "127.0.0.1:1"), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_set(wrong(), "bind", "127.0.0.1:1"), SYNCSWIM_ERR_HANDLE);
    IS(syncswim_config_set(config, NULL, "x"), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_set(config, "cluster", NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_set(config, "cluster", bad), SYNCSWIM_ERR_TEXT);
    for (i = 0; i < sizeof values / sizeof *values; i++) {
        IS(syncswim_config_set(config, values[i][0], values[i][1]), SYNCSWIM_ERR_CONFIG);
        CHECK(strstr(syncswim_last_error(), values[i][0]) != NULL);
    }
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = 0;
    IS(syncswim_config_set(config, "tag.large", large), SYNCSWIM_ERR_CONFIG);

    IS(syncswim_config_set_bytes(config, "cluster", (const uint8_t *)"ab", 1), SYNCSWIM_OK);
    IS(syncswim_config_set_bytes(config, "cluster", (const uint8_t *)bad, 2), SYNCSWIM_ERR_TEXT);
    IS(syncswim_config_set_bytes(config, "cluster", NULL, 2), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_set_bytes(config, NULL, (const uint8_t *)"a", 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_config_set_bytes(NULL, "cluster", (const uint8_t *)"a", 1), SYNCSWIM_ERR_NULL);
    syncswim_config_free(config);
    syncswim_config_free(config);
    syncswim_config_free(NULL);
    IS(syncswim_config_set(config, "cluster", "c"), SYNCSWIM_ERR_HANDLE);
}

static void clusters(void)
{
    const char *peers[] = {"a", NULL}, *key = "k";
    syncswim_cluster *cluster = NULL;
    syncswim_config *config = local_config("n");
    syncswim_membership *membership;
    syncswim_members *members = NULL;
    size_t needed = 0;
    uint64_t number = 7;

    IS(syncswim_cluster_new(NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_new(&cluster), SYNCSWIM_OK);
    IS(syncswim_cluster_add_fixed(NULL, peers, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_fixed(wrong(), peers, 1), SYNCSWIM_ERR_HANDLE);
    IS(syncswim_cluster_add_fixed(cluster, NULL, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_fixed(cluster, peers, 2), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_fixed(cluster, NULL, 0), SYNCSWIM_OK);
    IS(syncswim_cluster_add_dns(NULL, "host", 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_dns(cluster, NULL, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_gossip(cluster, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_gossip(NULL, config), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_add_gossip(cluster, (syncswim_config *)(void *)cluster), SYNCSWIM_ERR_HANDLE);
    IS(syncswim_cluster_start(NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_stop(NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_wait(NULL, 0), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_membership(NULL, &membership), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_membership(cluster, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_members(NULL, &members), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_members(cluster, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_set_tags(NULL, &key, &key, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_set_tags(cluster, NULL, &key, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_set_tags(cluster, &key, NULL, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_join(NULL, peers, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_join(cluster, NULL, 1), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_leave(NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_remove(NULL, "n", 0), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_remove(cluster, NULL, 0), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_remove(cluster, "n", 0), SYNCSWIM_ERR_STATE);
    IS(syncswim_cluster_metric(NULL, "probes", &number), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_metric(cluster, NULL, &number), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_metric(cluster, "probes", NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_prometheus_text(NULL, NULL, NULL, 0, NULL, 0, &needed), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_prometheus_text(cluster, NULL, NULL, 0, NULL, 1, &needed), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_prometheus_text(cluster, NULL, NULL, 0, NULL, 0, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_prometheus_text(cluster, NULL, NULL, 1, NULL, 0, &needed), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_status(NULL, NULL, 0, &needed), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_status(cluster, NULL, 0, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_status(cluster, NULL, 1, &needed), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_explain(cluster, NULL, NULL, 0, &needed), SYNCSWIM_ERR_NULL);
    CHECK(number == 7 && members == NULL);
    CHECK(syncswim_metric_name(0) != NULL && syncswim_metric_name(100000) == NULL);
    syncswim_cluster_free(NULL);
    syncswim_cluster_free(cluster);
    syncswim_cluster_free(cluster);
    IS(syncswim_cluster_start(cluster), SYNCSWIM_ERR_HANDLE);
    syncswim_config_free(config);
}

static void memberships(syncswim_membership *membership)
{
    const char *peers[] = {"a", "b"};
    syncswim_snapshot *snapshot = NULL;
    syncswim_watch *watch = NULL;

    IS(syncswim_membership_add(NULL, peers, 2), SYNCSWIM_ERR_NULL);
    IS(syncswim_membership_mark_left(wrong(), peers, 2), SYNCSWIM_ERR_HANDLE);
    IS(syncswim_membership_mark_failed(wrong(), peers, 2), SYNCSWIM_ERR_HANDLE);
    IS(syncswim_membership_remove(membership, NULL, 2), SYNCSWIM_ERR_NULL);
    CHECK(syncswim_membership_majority(NULL) == 0);
    IS(syncswim_membership_snapshot(NULL, &snapshot), SYNCSWIM_ERR_NULL);
    IS(syncswim_membership_snapshot(membership, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_membership_watch(NULL, &watch), SYNCSWIM_ERR_NULL);
    IS(syncswim_membership_watch(membership, NULL), SYNCSWIM_ERR_NULL);
    CHECK(snapshot == NULL && watch == NULL);

    IS(syncswim_membership_add(membership, peers, 2), SYNCSWIM_OK);
    IS(syncswim_membership_mark_left(membership, peers, 1), SYNCSWIM_OK);
    IS(syncswim_membership_snapshot(membership, &snapshot), SYNCSWIM_OK);
    CHECK(syncswim_snapshot_len(snapshot) == 2 && syncswim_snapshot_active_len(snapshot) == 1);
    CHECK(syncswim_snapshot_majority(snapshot) == 2 && syncswim_membership_majority(membership) == 2);
    CHECK(strcmp(syncswim_snapshot_peer(snapshot, 0), "b") == 0);
    CHECK(strcmp(syncswim_snapshot_peer(snapshot, 1), "a") == 0);
    CHECK(syncswim_snapshot_peer(snapshot, 2) == NULL && syncswim_snapshot_peer(NULL, 0) == NULL);
    CHECK(syncswim_snapshot_len(NULL) == 0 && syncswim_snapshot_active_len(wrong()) == 0);
    CHECK(syncswim_snapshot_majority(NULL) == 0);
    CHECK(syncswim_snapshot_failed_len(snapshot) == 0 && syncswim_snapshot_failed_peer(snapshot, 0) == NULL);
    CHECK(syncswim_snapshot_failed_len(NULL) == 0 && syncswim_snapshot_failed_peer(wrong(), 0) == NULL);
    syncswim_snapshot_free(snapshot);
    IS(syncswim_membership_mark_failed(membership, peers, 2), SYNCSWIM_OK);
    IS(syncswim_membership_snapshot(membership, &snapshot), SYNCSWIM_OK);
    CHECK(syncswim_snapshot_active_len(snapshot) == 0 && syncswim_snapshot_failed_len(snapshot) == 1);
    CHECK(strcmp(syncswim_snapshot_failed_peer(snapshot, 0), "b") == 0);
    CHECK(syncswim_snapshot_failed_peer(snapshot, 1) == NULL);
    syncswim_snapshot_free(snapshot);
    CHECK(syncswim_snapshot_len(snapshot) == 0);
    syncswim_snapshot_free(snapshot);
    syncswim_snapshot_free(NULL);
    IS(syncswim_membership_remove(membership, peers, 2), SYNCSWIM_OK);
}

static void watches(syncswim_membership *membership)
{
    int fd = -7;
    syncswim_change *change = NULL;
    syncswim_watch *watch = watch_of(membership);

    IS(syncswim_watch_next(NULL, 0, &change), SYNCSWIM_ERR_NULL);
    IS(syncswim_watch_next(watch, 0, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_watch_fd(NULL, &fd), SYNCSWIM_ERR_NULL);
    IS(syncswim_watch_fd(watch, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_watch_callback(NULL, nothing, wrong(), release), SYNCSWIM_ERR_NULL);
    IS(syncswim_watch_callback(watch, NULL, wrong(), release), SYNCSWIM_ERR_NULL);
    CHECK(released == 2);
    IS(syncswim_watch_next(watch, 0, &change), SYNCSWIM_OK);
    CHECK(syncswim_change_len(change, SYNCSWIM_ACTIVE) == 0);
    CHECK(syncswim_change_len(change, 3) == 0 && syncswim_change_len(change, -1) == 0);
    CHECK(strstr(syncswim_last_error(), "-1") != NULL);
    CHECK(syncswim_change_len(NULL, SYNCSWIM_LEFT) == 0);
    CHECK(syncswim_change_peer(change, SYNCSWIM_REMOVED, 0) == NULL);
    CHECK(syncswim_change_peer(change, 9, 0) == NULL && syncswim_change_peer(NULL, 0, 0) == NULL);
    syncswim_change_free(change);
    syncswim_change_free(change);
    syncswim_change_free(NULL);

    IS(syncswim_watch_fd(watch, &fd), SYNCSWIM_OK);
    CHECK(fd >= 0);
    IS(syncswim_watch_callback(watch, nothing, wrong(), release), SYNCSWIM_ERR_STATE);
    CHECK(released == 3);
    syncswim_watch_free(watch);
    syncswim_watch_free(watch);
    syncswim_watch_free(NULL);

    watch = watch_of(membership);
    IS(syncswim_watch_callback(watch, nothing, NULL, NULL), SYNCSWIM_OK);
    IS(syncswim_watch_fd(watch, &fd), SYNCSWIM_ERR_STATE);
    IS(syncswim_watch_next(watch, 0, &change), SYNCSWIM_ERR_STATE);
    syncswim_watch_free(watch);
}

static void metrics_text(syncswim_cluster *cluster)
{
    const char *keys[] = {"node", "zone"}, *values[] = {"n", "a \"b\""}, *reserved[] = {"le"};
    static char text[65536];
    size_t needed = 0, again = 0;

    IS(syncswim_cluster_prometheus_text(cluster, keys, values, 2, NULL, 0, &needed), SYNCSWIM_ERR_RANGE);
    CHECK(needed > 1000 && needed <= sizeof text);
    memset(text, 0x55, sizeof text);
    IS(syncswim_cluster_prometheus_text(cluster, keys, values, 2, text, 100, &again), SYNCSWIM_ERR_RANGE);
    CHECK(again > 1000 && text[0] == 0x55);
    IS(syncswim_cluster_prometheus_text(cluster, keys, values, 2, text, sizeof text, &needed), SYNCSWIM_OK);
    CHECK(strlen(text) + 1 == needed && text[needed] == 0x55);
    CHECK(strncmp(text, "# HELP ", 7) == 0 && text[needed - 2] == '\n');
    CHECK(strstr(text, "\nsyncswim_live_members{node=\"n\",zone=\"a \\\"b\\\"\"} 1\n") != NULL);
    IS(syncswim_cluster_prometheus_text(cluster, NULL, NULL, 0, text, sizeof text, &needed), SYNCSWIM_OK);
    CHECK(strstr(text, "\nsyncswim_live_members 1\n") != NULL);
    IS(syncswim_cluster_prometheus_text(cluster, reserved, values, 1, text, sizeof text, &needed),
       SYNCSWIM_ERR_CONFIG);
    CHECK(strstr(syncswim_last_error(), "le") != NULL);
}

static void reports(syncswim_cluster *cluster)
{
    static char text[8192];
    size_t needed = 0;

    IS(syncswim_cluster_status(cluster, NULL, 0, &needed), SYNCSWIM_ERR_RANGE);
    CHECK(needed > 10 && needed <= sizeof text);
    IS(syncswim_cluster_status(cluster, text, sizeof text, &needed), SYNCSWIM_OK);
    CHECK(strlen(text) + 1 == needed && strstr(text, "1 live") != NULL && strchr(text, '\n') == NULL);
    IS(syncswim_cluster_record(cluster, "/no/such/folder/n.rec", 1 << 20), SYNCSWIM_ERR_SYSTEM);
    IS(syncswim_cluster_record(cluster, "n.rec", 1), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_cluster_record(cluster, NULL, 0), SYNCSWIM_OK);
    IS(syncswim_cluster_explain(cluster, "nobody", text, 4, &needed), SYNCSWIM_ERR_RANGE);
    IS(syncswim_cluster_explain(cluster, "nobody", text, sizeof text, &needed), SYNCSWIM_OK);
    CHECK(strncmp(text, "nobody: not listed\n", 19) == 0 && strlen(text) + 1 == needed);
}

static void members_of(syncswim_cluster *cluster)
{
    syncswim_members *members;
    syncswim_member member;
    uint64_t number;

    IS(syncswim_cluster_members(cluster, &members), SYNCSWIM_OK);
    CHECK(syncswim_members_len(NULL) == 0 && syncswim_members_len(members) == 1);
    member.struct_size = sizeof member;
    IS(syncswim_members_get(NULL, 0, &member), SYNCSWIM_ERR_NULL);
    IS(syncswim_members_get(members, 0, NULL), SYNCSWIM_ERR_NULL);
    IS(syncswim_members_get(members, 1, &member), SYNCSWIM_ERR_RANGE);
    member.struct_size = 0;
    IS(syncswim_members_get(members, 0, &member), SYNCSWIM_ERR_RANGE);
    /* An older program knows less of the struct: nothing beyond is touched. */
    memset(&member, 0x55, sizeof member);
    member.struct_size = offsetof(syncswim_member, epoch);
    IS(syncswim_members_get(members, 0, &member), SYNCSWIM_OK);
    CHECK(strcmp(member.name, "n") == 0 && member.state == SYNCSWIM_MEMBER_ALIVE);
    CHECK(member.epoch == UINT64_C(0x5555555555555555));
    CHECK(member.struct_size == offsetof(syncswim_member, epoch));
    CHECK(syncswim_members_tag(NULL, 0, "k") == NULL && syncswim_members_tag(members, 9, "k") == NULL);
    CHECK(syncswim_members_tag(members, 0, NULL) == NULL && syncswim_members_tag(members, 0, "k") == NULL);
    CHECK(syncswim_members_tag_key(NULL, 0, 0) == NULL && syncswim_members_tag_key(members, 0, 0) == NULL);
    syncswim_members_free(members);
    syncswim_members_free(members);
    syncswim_members_free(NULL);
    IS(syncswim_cluster_metric(cluster, "happiness", &number), SYNCSWIM_ERR_RANGE);
    IS(syncswim_cluster_metric(cluster, "probe_round_trip", &number), SYNCSWIM_ERR_RANGE);
    metrics_text(cluster);
    reports(cluster);
}

int main(void)
{
    syncswim_cluster *cluster;
    syncswim_membership *membership;

    CHECK(syncswim_abi_version() == SYNCSWIM_ABI_VERSION && strlen(syncswim_version()) >= 5);
    CHECK(strcmp(syncswim_last_error(), "") == 0);
    IS(syncswim_log(0, log_nothing, NULL, NULL), SYNCSWIM_ERR_RANGE);
    IS(syncswim_log(6, log_nothing, NULL, NULL), SYNCSWIM_ERR_RANGE);
    IS(syncswim_log(3, NULL, NULL, NULL), SYNCSWIM_OK);
    configurations();
    clusters();
    IS(syncswim_cluster_new(&cluster), SYNCSWIM_OK);
    membership = membership_of(cluster);
    memberships(membership);
    watches(membership);
    syncswim_membership_free(membership);
    syncswim_membership_free(membership);
    syncswim_membership_free(NULL);
    syncswim_cluster_free(cluster);
    cluster = started("n", NULL);
    members_of(cluster);
    syncswim_cluster_free(cluster);
    puts("done");
    return 0;
}
