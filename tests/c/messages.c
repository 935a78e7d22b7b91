/* Messages, requests and queries between two nodes of this process. */
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static const uint8_t *bytes(const char *text)
{
    return (const uint8_t *)text;
}

static int says(const syncswim_message *message, const char *from, const char *payload)
{
    size_t length = strlen(payload);
    return strcmp(syncswim_message_from(message), from) == 0 && syncswim_message_len(message) == length &&
           memcmp(syncswim_message_payload(message), payload, length) == 0 && syncswim_message_epoch(message) > 0;
}

static void messages(syncswim_cluster *a, syncswim_cluster *b)
{
    static uint8_t large[(1 << 20) + 1];
    syncswim_inbox *inbox, *all;
    syncswim_message *message;

    IS(syncswim_cluster_send(a, "b", "jobs", bytes("hi"), 2, 5000), SYNCSWIM_ERR_NO_READER);
    IS(syncswim_cluster_inbox(b, "jobs", &inbox), SYNCSWIM_OK);
    IS(syncswim_cluster_inbox(b, "j*", &all), SYNCSWIM_OK);
    IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_TIMEOUT);
    IS(syncswim_cluster_send(a, "b", "jobs", bytes("hi"), 2, 5000), SYNCSWIM_OK);
    IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_OK);
    CHECK(says(message, "a", "hi") && strcmp(syncswim_message_topic(message), "jobs") == 0);
    IS(syncswim_message_status(message), SYNCSWIM_OK);
    IS(syncswim_request_answer(message, NULL, 0), SYNCSWIM_ERR_STATE);
    syncswim_message_free(message);
    IS(syncswim_inbox_next(all, 0, &message), SYNCSWIM_OK);
    syncswim_message_free(message);
    CHECK(syncswim_message_from(message) == NULL);
    IS(syncswim_cluster_send(a, "b", "jobs", large, 1 << 20, 5000), SYNCSWIM_OK);
    IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_OK);
    CHECK(syncswim_message_len(message) == 1 << 20);
    syncswim_message_free(message);
    for (int number = 0; number < 1030; number++) {
        IS(syncswim_cluster_send(a, "b", "jobs", NULL, 0, 5000), SYNCSWIM_OK);
        IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_OK);
        CHECK(syncswim_message_lost(message) == 0 && syncswim_message_seq(message) == 0);
        IS(syncswim_message_kind(message), SYNCSWIM_MESSAGE_SENT);
        syncswim_message_free(message);
    }
    for (int number = 0; number < 1024; number++) {
        IS(syncswim_inbox_next(all, 0, &message), SYNCSWIM_OK);
        CHECK(syncswim_message_lost(message) == 0);
        syncswim_message_free(message);
    }
    IS(syncswim_inbox_next(all, 0, &message), SYNCSWIM_OK);
    CHECK(syncswim_message_lost(message) == 7 && says(message, "a", ""));
    IS(syncswim_message_kind(message), SYNCSWIM_MESSAGE_LOST);
    syncswim_message_free(message);
    IS(syncswim_cluster_send(a, "b", "jobs", NULL, 0, 0), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_cluster_send(a, "b", "jobs", large, sizeof large, 5000), SYNCSWIM_ERR_TOO_LARGE);
    IS(syncswim_cluster_send(a, "c", "jobs", NULL, 0, 5000), SYNCSWIM_ERR_UNKNOWN_MEMBER);
    IS(syncswim_cluster_send(a, "b", "", NULL, 0, 5000), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_cluster_send(a, "b", NULL, NULL, 0, 5000), SYNCSWIM_ERR_NULL);
    IS(syncswim_cluster_send(a, "b", "jobs", NULL, 1, 5000), SYNCSWIM_ERR_NULL);
    syncswim_inbox_free(inbox);
    syncswim_inbox_free(all);
    IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_ERR_HANDLE);
}

static void *answer_four(void *requests)
{
    syncswim_message *request;
    IS(syncswim_requests_next(requests, 10000, &request), SYNCSWIM_OK);
    CHECK(says(request, "a", "1"));
    IS(syncswim_request_answer(request, bytes("one"), 3), SYNCSWIM_OK);
    IS(syncswim_request_answer(request, bytes("one"), 3), SYNCSWIM_ERR_STATE);
    syncswim_message_free(request);
    IS(syncswim_requests_next(requests, 10000, &request), SYNCSWIM_OK);
    IS(syncswim_request_refuse(request, "no more"), SYNCSWIM_OK);
    syncswim_message_free(request);
    IS(syncswim_requests_next(requests, 10000, &request), SYNCSWIM_OK);
    syncswim_message_free(request);
    IS(syncswim_requests_next(requests, 10000, &request), SYNCSWIM_OK);
    sleep(1);
    IS(syncswim_request_answer(request, NULL, 0), SYNCSWIM_ERR_TOO_LATE);
    syncswim_message_free(request);
    return NULL;
}

static void requests(syncswim_cluster *a, syncswim_cluster *b)
{
    syncswim_requests *requests;
    syncswim_message *answer;
    pthread_t thread;

    IS(syncswim_cluster_serve(b, "syncswim/ping", &requests), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_cluster_serve(b, "count", &requests), SYNCSWIM_OK);
    CHECK(pthread_create(&thread, NULL, answer_four, requests) == 0);
    IS(syncswim_cluster_request(a, "b", "count", bytes("1"), 1, 10000, &answer), SYNCSWIM_OK);
    CHECK(says(answer, "b", "one"));
    syncswim_message_free(answer);
    IS(syncswim_cluster_request(a, "b", "count", bytes("2"), 1, 10000, &answer), SYNCSWIM_ERR_REFUSED);
    CHECK(strstr(syncswim_last_error(), "no more") != NULL);
    IS(syncswim_cluster_request(a, "b", "count", bytes("3"), 1, 10000, &answer), SYNCSWIM_ERR_REFUSED);
    IS(syncswim_cluster_request(a, "b", "count", bytes("4"), 1, 200, &answer), SYNCSWIM_ERR_UNANSWERED);
    pthread_join(thread, NULL);
    syncswim_requests_free(requests);
    IS(syncswim_cluster_request(a, "b", "count", bytes("5"), 1, 5000, &answer), SYNCSWIM_ERR_NO_READER);
}

static void queries(syncswim_cluster *a, syncswim_cluster *b)
{
    syncswim_requests *requests;
    syncswim_answers *answers;
    syncswim_message *message;
    int answered = 0;

    IS(syncswim_cluster_query(a, "", "syncswim/info", NULL, 0, 5000, &answers), SYNCSWIM_OK);
    while (syncswim_answers_next(answers, -1, &message) == SYNCSWIM_OK) {
        answered += syncswim_message_status(message) == SYNCSWIM_OK;
        syncswim_message_free(message);
    }
    CHECK(answered == 2);
    syncswim_answers_free(answers);
    IS(syncswim_cluster_query(a, "@others", "count", NULL, 0, 5000, &answers), SYNCSWIM_OK);
    IS(syncswim_answers_next(answers, -1, &message), SYNCSWIM_OK);
    IS(syncswim_message_status(message), SYNCSWIM_ERR_NO_READER);
    syncswim_message_free(message);
    IS(syncswim_answers_next(answers, -1, &message), SYNCSWIM_CLOSED);
    syncswim_answers_free(answers);
    IS(syncswim_cluster_query(a, "=db", "count", NULL, 0, 5000, &answers), SYNCSWIM_ERR_CONFIG);
    IS(syncswim_cluster_serve(b, "count", &requests), SYNCSWIM_OK);
    IS(syncswim_cluster_query(a, "@others", "count", NULL, 0, 200, &answers), SYNCSWIM_OK);
    IS(syncswim_answers_next(answers, -1, &message), SYNCSWIM_OK);
    IS(syncswim_message_status(message), SYNCSWIM_ERR_UNANSWERED);
    CHECK(strncmp((const char *)syncswim_message_payload(message), "no answer, the time was over", 28) == 0);
    syncswim_message_free(message);
    syncswim_answers_free(answers);
    for (int number = 0; number < 20; number++) {
        IS(syncswim_cluster_query(a, "@others", "count", NULL, 0, 3600000, &answers), SYNCSWIM_OK);
        syncswim_answers_free(answers);
    }
    syncswim_requests_free(requests);
}

static void *ask(void *a)
{
    syncswim_message *answer;
    IS(syncswim_cluster_request(a, "b", "polled", NULL, 0, 60000, &answer), SYNCSWIM_OK);
    syncswim_message_free(answer);
    return NULL;
}

static void descriptors(syncswim_cluster *a, syncswim_cluster *b)
{
    syncswim_inbox *inbox;
    syncswim_requests *requests;
    syncswim_answers *answers;
    syncswim_entry_watch *watch;
    syncswim_entries *entries;
    syncswim_message *message;
    pthread_t thread;
    uint64_t version;
    int fd, again;

    IS(syncswim_cluster_inbox(b, "polled", &inbox), SYNCSWIM_OK);
    IS(syncswim_inbox_fd(inbox, &fd), SYNCSWIM_OK);
    IS(syncswim_inbox_fd(inbox, &again), SYNCSWIM_OK);
    IS(syncswim_inbox_fd(NULL, &again), SYNCSWIM_ERR_NULL);
    IS(syncswim_inbox_fd(inbox, NULL), SYNCSWIM_ERR_NULL);
    CHECK(fd == again && !is_readable(fd, 20));
    for (int number = 0; number < 3; number++)
        IS(syncswim_cluster_send(a, "b", "polled", (const uint8_t *)&number, 1, 5000), SYNCSWIM_OK);
    for (int number = 0; number < 3; number++) {
        CHECK(is_readable(fd, 60000));
        IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_OK);
        CHECK(*syncswim_message_payload(message) == number);
        syncswim_message_free(message);
    }
    CHECK(!is_readable(fd, 20));
    IS(syncswim_inbox_next(inbox, 0, &message), SYNCSWIM_TIMEOUT);
    syncswim_inbox_free(inbox);

    IS(syncswim_cluster_serve(b, "polled", &requests), SYNCSWIM_OK);
    IS(syncswim_requests_fd(requests, &fd), SYNCSWIM_OK);
    CHECK(!is_readable(fd, 20));
    CHECK(pthread_create(&thread, NULL, ask, a) == 0);
    CHECK(is_readable(fd, 60000));
    IS(syncswim_requests_next(requests, 0, &message), SYNCSWIM_OK);
    CHECK(!is_readable(fd, 20));
    IS(syncswim_request_answer(message, NULL, 0), SYNCSWIM_OK);
    syncswim_message_free(message);
    pthread_join(thread, NULL);

    IS(syncswim_cluster_query(a, "@others", "polled", NULL, 0, 60000, &answers), SYNCSWIM_OK);
    /* The service takes it in advance, and ends. */
    CHECK(is_readable(fd, 60000));
    IS(syncswim_answers_fd(answers, &fd), SYNCSWIM_OK);
    CHECK(!is_readable(fd, 20));
    syncswim_requests_free(requests);
    CHECK(is_readable(fd, 60000));
    IS(syncswim_answers_next(answers, 0, &message), SYNCSWIM_OK);
    IS(syncswim_message_status(message), SYNCSWIM_ERR_REFUSED);
    syncswim_message_free(message);
    CHECK(is_readable(fd, 60000));
    IS(syncswim_answers_next(answers, 60000, &message), SYNCSWIM_CLOSED);
    syncswim_answers_free(answers);

    IS(syncswim_cluster_watch_entries(a, "polled", &watch), SYNCSWIM_OK);
    IS(syncswim_entry_watch_fd(watch, &fd), SYNCSWIM_OK);
    CHECK(is_readable(fd, 60000));
    IS(syncswim_entry_watch_next(watch, 0, &entries), SYNCSWIM_OK);
    CHECK(syncswim_entries_len(entries) == 0 && !is_readable(fd, 20));
    syncswim_entries_free(entries);
    IS(syncswim_cluster_set(b, "polled", NULL, 0, &version), SYNCSWIM_OK);
    CHECK(is_readable(fd, 60000));
    IS(syncswim_entry_watch_next(watch, 0, &entries), SYNCSWIM_OK);
    CHECK(syncswim_entries_len(entries) == 1);
    syncswim_entries_free(entries);
    syncswim_entry_watch_free(watch);
}

int main(void)
{
    char addr[64];
    syncswim_cluster *a = started("a", NULL), *b;
    syncswim_inbox *inbox;
    syncswim_message *message;
    const char *seed = addr;

    own_address(a, addr, sizeof addr);
    b = started("b", NULL);
    IS(syncswim_cluster_join(b, &seed, 1), SYNCSWIM_OK);
    IS(syncswim_cluster_request(b, "a", "syncswim/ping", NULL, 0, 5000, &message), SYNCSWIM_OK);
    syncswim_message_free(message);
    while (syncswim_cluster_request(a, "b", "syncswim/ping", NULL, 0, 5000, &message) != SYNCSWIM_OK)
        continue;
    syncswim_message_free(message);
    messages(a, b);
    requests(a, b);
    queries(a, b);
    descriptors(a, b);
    IS(syncswim_cluster_inbox(b, "*", &inbox), SYNCSWIM_OK);
    IS(syncswim_cluster_send(a, "b", "jobs", NULL, 0, 5000), SYNCSWIM_OK);
    syncswim_cluster_free(b);
    IS(syncswim_inbox_next(inbox, -1, &message), SYNCSWIM_OK);
    syncswim_message_free(message);
    IS(syncswim_inbox_next(inbox, -1, &message), SYNCSWIM_CLOSED);
    syncswim_inbox_free(inbox);
    syncswim_cluster_free(a);
    printf("done\n");
    return 0;
}
