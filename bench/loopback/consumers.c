/* The consumers of a load, in one process: what consumers.py does, at a third of its cost, so that on a machine with
 * few cores the load takes less from what is measured. Same arguments, same input, same output: see there.
 *
 * One argument more, "kernel", and a record counts as there when the kernel had its last byte, not when this process
 * came to read it: so that a load which shares its core with a server does not measure itself.
 *
 * Linux only. A stamp is looked for in all that is received; its form is stamps.py's.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAGIC_SIZE 16
#define STAMP_SIZE (MAGIC_SIZE + 16)
#define RECEIVE (1 << 18)
#define EVENTS 1024

static const char MAGIC[MAGIC_SIZE + 1] = "\xfe\xa7SDPSTAMP\x1c\xfd\x0b\x9f\xd4\xee";

struct consumer {
    int socket;
    int answered;
    int rest; /* how many bytes of a stamp that is not yet whole are kept */
    int has_last;
    uint64_t last;
    char kept[STAMP_SIZE];
};

struct samples {
    uint64_t *pairs;
    size_t count, room;
};

static struct sockaddr_in server;
static struct samples samples;
static uint64_t received, missed;
static int answered, lost, refused, kernel_times;
static char buffer[RECEIVE + STAMP_SIZE];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void note(uint64_t sent, uint64_t arrived)
{
    if (samples.count + 2 > samples.room) {
        samples.room = samples.room ? samples.room * 2 : 1 << 16;
        samples.pairs = realloc(samples.pairs, samples.room * sizeof(uint64_t));
        if (!samples.pairs)
            fail("samples");
    }
    samples.pairs[samples.count++] = sent;
    samples.pairs[samples.count++] = arrived;
}

static void read_request(char *request, size_t room)
{
    size_t used = 0, line = 0;
    char byte;

    while (read(0, &byte, 1) == 1) {
        if (byte != '\n') {
            if (used + 8 > room) {
                fputs("the request is too long\n", stderr);
                exit(1);
            }
            request[used++] = byte;
            continue;
        }
        if (used - line == 1 && request[line] == '.') {
            used = line;
            break;
        }
        request[used++] = '\r';
        request[used++] = '\n';
        line = used;
    }
    memcpy(request + used, "\r\n", 3);
}

/* Write the request for one stream: the first %d becomes its number. */
static int request_for(const char *request, int stream, char *out, size_t room)
{
    const char *place = strstr(request, "%d");
    if (!place)
        return snprintf(out, room, "%s", request);
    return snprintf(out, room, "%.*s%d%s", (int)(place - request), request, stream, place + 2);
}

static void dial(struct consumer *consumer, int poll, const char *request, int stream)
{
    char text[9000];
    int length = request_for(request, stream, text, sizeof text);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = consumer};

    consumer->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (consumer->socket < 0 || connect(consumer->socket, (struct sockaddr *)&server, sizeof server))
        fail("connect");
    if (send(consumer->socket, text, (size_t)length, MSG_NOSIGNAL) != length)
        fail("send");
    if (kernel_times && setsockopt(consumer->socket, SOL_SOCKET, SO_TIMESTAMPNS, &kernel_times, sizeof kernel_times))
        fail("SO_TIMESTAMPNS");
    fcntl(consumer->socket, F_SETFL, O_NONBLOCK);
    if (epoll_ctl(poll, EPOLL_CTL_ADD, consumer->socket, &event))
        fail("epoll_ctl");
}

static void find(struct consumer *consumer, char *data, size_t size, uint64_t arrived)
{
    char *end = data + size, *after = data, *at;

    while ((at = memmem(after, (size_t)(end - after), MAGIC, MAGIC_SIZE)) && at + STAMP_SIZE <= end) {
        uint64_t numbers[2];
        memcpy(numbers, at + MAGIC_SIZE, sizeof numbers);
        uint64_t number = be64toh(numbers[0]);
        if (consumer->has_last && number > consumer->last + 1)
            missed += number - consumer->last - 1;
        consumer->last = number;
        consumer->has_last = 1;
        note(be64toh(numbers[1]), arrived ? arrived : now());
        after = at + STAMP_SIZE;
    }
    consumer->rest = end - after < STAMP_SIZE - 1 ? (int)(end - after) : STAMP_SIZE - 1;
    memcpy(consumer->kept, end - consumer->rest, (size_t)consumer->rest);
}

/* As recv(), with the time (this program's) at which the kernel had the last of these bytes; 0 where it does not say. */
static ssize_t receive_timed(int from, char *into, size_t room, uint64_t *arrived)
{
    char control[CMSG_SPACE(sizeof(struct timespec))];
    struct iovec part = {.iov_base = into, .iov_len = room};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t size = recvmsg(from, &message, 0);
    struct timespec today;

    for (struct cmsghdr *at = size > 0 ? CMSG_FIRSTHDR(&message) : NULL; at; at = CMSG_NXTHDR(&message, at)) {
        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_TIMESTAMPNS)
            continue;
        struct timespec had;
        memcpy(&had, CMSG_DATA(at), sizeof had);
        clock_gettime(CLOCK_REALTIME, &today);
        *arrived = now() - (uint64_t)((today.tv_sec - had.tv_sec) * 1000000000ll + today.tv_nsec - had.tv_nsec);
    }
    return size;
}

static void receive(struct consumer *consumer, int poll)
{
    uint64_t arrived = 0;
    memcpy(buffer, consumer->kept, (size_t)consumer->rest);
    ssize_t size = kernel_times ? receive_timed(consumer->socket, buffer + consumer->rest, RECEIVE, &arrived)
                                : recv(consumer->socket, buffer + consumer->rest, RECEIVE, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size <= 0) {
        epoll_ctl(poll, EPOLL_CTL_DEL, consumer->socket, NULL);
        close(consumer->socket);
        answered -= consumer->answered;
        lost++;
        return;
    }
    received += (uint64_t)size;
    if (!consumer->answered) {
        consumer->answered = 1;
        answered++;
        refused += size < 10 || buffer[9] != '2';
    }
    find(consumer, buffer, (size_t)consumer->rest + (size_t)size, arrived);
}

/* Read from whoever has something. Returns whether standard input has. */
static int turn(int poll, int milliseconds)
{
    static struct epoll_event events[EVENTS];
    int told = 0, count = epoll_wait(poll, events, EVENTS, milliseconds);

    for (int at = 0; at < count; at++) {
        if (events[at].data.ptr)
            receive(events[at].data.ptr, poll);
        else
            told = 1;
    }
    return told;
}

int main(int argc, char **argv)
{
    static char request[8192];
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};

    if (argc != 8 && argc != 9) {
        fputs("consumers HOST PORT FILE COUNT STREAMS BATCH SECONDS [kernel]\n", stderr);
        return 2;
    }
    int count = atoi(argv[4]), streams = atoi(argv[5]), batch = atoi(argv[6]);
    double limit = atof(argv[7]);
    kernel_times = argc == 9;
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &server.sin_addr);
    read_request(request, sizeof request);

    int poll = epoll_create1(0), begun = 0;
    struct consumer *consumers = calloc((size_t)count, sizeof *consumers);
    if (poll < 0 || !consumers)
        fail("consumers");
    uint64_t started = now();
    while (answered + lost < count && (double)(now() - started) / 1e9 < limit) {
        for (int one = 0; one < batch && begun < count; one++, begun++)
            dial(&consumers[begun], poll, request, begun % streams);
        turn(poll, begun < count ? 1 : 20);
    }
    printf("{\"joined\": %d, \"seconds\": %.6f}\n", answered, (double)(now() - started) / 1e9);
    fflush(stdout);

    epoll_ctl(poll, EPOLL_CTL_ADD, 0, &event);
    while (!turn(poll, 1000))
        ;
    FILE *file = fopen(argv[3], "wb");
    if (!file || fwrite(samples.pairs, sizeof(uint64_t), samples.count, file) != samples.count || fclose(file))
        fail(argv[3]);
    printf("{\"bytes\": %llu, \"missed\": %llu, \"lost\": %d, \"refused\": %d}\n", (unsigned long long)received,
           (unsigned long long)missed, lost, refused);
    return 0;
}
