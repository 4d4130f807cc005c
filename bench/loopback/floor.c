/* The floor: the least that one thread can do to fan out. POSTs with a Content-Length come in, each content goes as one
 * chunk to everyone who asked for that stream, by one send() each from an epoll loop. Nothing is checked, nothing is
 * kept, who does not take a record at once loses it. A server that does all that a server has to is measured beside it.
 *
 *     floor PORT
 *
 * A stream is named by the number at the end of its path, 0 to 4095.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define STREAMS 4096
#define SOCKETS 65536
#define EVENTS 256
#define FIRST_ROOM 4096

enum kind { NEW, PUBLISHER, CONSUMER };

struct connection {
    enum kind kind;
    int stream, place;
    char *data; /* what came and is not worked through yet */
    size_t used, room;
};

struct stream {
    int *consumers;
    int count, room;
};

static struct connection connections[SOCKETS];
static struct stream streams[STREAMS];
static const char ANSWER[] = "HTTP/1.1 204 No Content\r\n\r\n";
static const char HEAD[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

static void *grown(void *memory, size_t size)
{
    memory = realloc(memory, size);
    if (!memory) {
        perror("memory");
        exit(1);
    }
    return memory;
}

static void put(int socket, const void *data, size_t size)
{
    ssize_t ignored = send(socket, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
}

static void leave(int socket)
{
    struct connection *connection = &connections[socket];
    if (connection->kind == CONSUMER) {
        struct stream *stream = &streams[connection->stream];
        int moved = stream->consumers[--stream->count];
        stream->consumers[connection->place] = moved;
        connections[moved].place = connection->place;
    }
    free(connection->data);
    memset(connection, 0, sizeof *connection);
    close(socket);
}

/* The number at the end of the path in a request line that ends at `end`. */
static int stream_of(const char *line, const char *end)
{
    const char *space = memchr(line, ' ', (size_t)(end - line));
    int number = 0;
    if (!space)
        return 0;
    for (const char *at = space + 1; at < end && *at != ' '; at++)
        number = *at >= '0' && *at <= '9' ? number * 10 + *at - '0' : 0;
    return number % STREAMS;
}

static void fan_out(int number, char *content, size_t size)
{
    struct stream *stream = &streams[number];
    char line[32], saved[2];
    int length = snprintf(line, sizeof line, "%zx\r\n", size);
    char *chunk = content - length;

    /* The chunk's size takes the place of the request's head, which has been read; the next request's first bytes
     * come back to theirs. */
    memcpy(saved, content + size, 2);
    memcpy(chunk, line, (size_t)length);
    memcpy(content + size, "\r\n", 2);
    for (int at = 0; at < stream->count; at++)
        put(stream->consumers[at], chunk, (size_t)length + size + 2);
    memcpy(content + size, saved, 2);
}

/* Work through whole requests. What is left of the last one stays at the front. */
static void publish(int socket, struct connection *connection)
{
    char *at = connection->data, *end = at + connection->used;

    for (;;) {
        char *blank = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        if (!blank)
            break;
        *blank = 0;
        char *field = strcasestr(at, "\r\nContent-Length:");
        *blank = '\r';
        size_t size = field ? strtoul(field + 17, NULL, 10) : 0;
        char *content = blank + 4;
        size_t whole = (size_t)(content - at) + size;
        if ((size_t)(end - at) < whole)
            break;
        fan_out(stream_of(at, memchr(at, '\r', (size_t)(end - at))), content, size);
        put(socket, ANSWER, sizeof ANSWER - 1);
        at += whole;
    }
    connection->used = (size_t)(end - at);
    memmove(connection->data, at, connection->used);
}

static void subscribe(int socket, struct connection *connection, char *data, size_t size)
{
    struct stream *stream = &streams[connection->stream = stream_of(data, data + size)];
    if (stream->count == stream->room) {
        stream->room = stream->room ? 2 * stream->room : 16;
        stream->consumers = grown(stream->consumers, (size_t)stream->room * sizeof(int));
    }
    connection->kind = CONSUMER;
    connection->place = stream->count;
    stream->consumers[stream->count++] = socket;
    put(socket, HEAD, sizeof HEAD - 1);
}

static void receive(int socket)
{
    struct connection *connection = &connections[socket];
    if (!connection->data) {
        connection->room = FIRST_ROOM;
        connection->data = grown(NULL, connection->room);
    }
    /* The last two bytes stay free: a chunk ends with them, see fan_out(). */
    size_t start = connection->used, free_room = connection->room - start - 2;
    if (!free_room) {
        connection->room *= 2;
        connection->data = grown(connection->data, connection->room);
        free_room = connection->room - start - 2;
    }
    ssize_t size = recv(socket, connection->data + start, free_room, MSG_DONTWAIT);
    if (size <= 0) {
        if (size == 0 || (errno != EAGAIN && errno != EINTR))
            leave(socket);
        return;
    }
    connection->used += (size_t)size;
    if (connection->kind == NEW && connection->data[0] == 'G')
        subscribe(socket, connection, connection->data, connection->used);
    else if (connection->kind == CONSUMER)
        connection->used = 0;
    else {
        connection->kind = PUBLISHER;
        publish(socket, connection);
    }
    if (connection->kind == CONSUMER) {
        free(connection->data);
        connection->data = NULL;
        connection->used = 0;
    }
}

int main(int argc, char **argv)
{
    static struct epoll_event events[EVENTS];
    struct sockaddr_in address = {.sin_family = AF_INET};
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};

    if (argc != 2) {
        fputs("floor PORT\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    address.sin_port = htons((uint16_t)atoi(argv[1]));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, SOMAXCONN)) {
        perror("listen");
        return 1;
    }
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    for (;;) {
        int count = epoll_wait(poll, events, EVENTS, -1);
        for (int at = 0; at < count; at++) {
            int one = events[at].data.fd;
            if (one != listener) {
                receive(one);
                continue;
            }
            while ((one = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                if (one >= SOCKETS) {
                    close(one);
                    continue;
                }
                setsockopt(one, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                event.data.fd = one;
                epoll_ctl(poll, EPOLL_CTL_ADD, one, &event);
            }
        }
    }
}
