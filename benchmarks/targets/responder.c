/* A small HTTP/1.1 server whose timing is known, to measure load generators with.

   responder --mode immediate|delay|freeze|sse [--port 0] [--delay-us 10000] [--freeze-us 200000] [--every-us 2000000]
             [--tokens 64] [--first-us 10000] [--gap-us 10000] [--spin-us 150]

   delay: an answer leaves so long after the kernel received the request (SO_TIMESTAMPNS), however late we come to
   read it. freeze: immediate, but nothing is read or written for --freeze-us in the middle of each --every-us since the
   first request. sse: an OpenAI-shaped stream, a token each --gap-us. Prints its port. GET /_stats says how late each answer
   left, by its own clock. One thread, one timerfd, a heap of what is due; the last --spin-us before an answer are
   spent polling, because waking up takes tens of microseconds. All times are nanoseconds of CLOCK_REALTIME, the clock
   of the kernel's stamps. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 65536
#define BUFFER 65536
#define LATE_BINS 100000 /* of a microsecond */

enum mode { IMMEDIATE, DELAY, FREEZE, SSE };

struct connection {
    uint32_t generation; /* an entry of the heap that names an older one is void */
    int open, length, step, usage;
    char *buffer;
};

struct due {
    int64_t at;
    int fd;
    uint32_t generation;
};

static struct connection connections[MOST_CONNECTIONS];
static struct due *heap;
static int heap_length, heap_room;
static enum mode mode = IMMEDIATE;
static int64_t delay_ns = 10000000, freeze_ns = 200000000, every_ns = 2000000000, first_ns = 10000000,
               gap_ns = 10000000, spin_ns = 150000, first_request_at;
static int tokens = 64;
static uint64_t requests, accepted, streams, cut, late_sum, late_count, late_max;
static uint32_t late[LATE_BINS];
static int64_t *arrivals; /* of every request but those of mode immediate */
static uint64_t arrivals_room;

static const char OK[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"ok\": true}";
static const char STREAM_HEAD[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
#define CHUNK "\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1700000000,\"model\":\"target\""
static char role_event[512], token_event[512], last_events[2048], usage_events[2048];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void push(struct due entry) {
    if (heap_length == heap_room) {
        heap_room = heap_room ? 2 * heap_room : 1024;
        heap = realloc(heap, heap_room * sizeof *heap);
    }
    int hole = heap_length++;
    while (hole && heap[(hole - 1) / 2].at > entry.at) {
        heap[hole] = heap[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    heap[hole] = entry;
}

static struct due pop(void) {
    struct due top = heap[0], last = heap[--heap_length];
    int hole = 0;
    for (;;) {
        int child = 2 * hole + 1;
        if (child >= heap_length) break;
        if (child + 1 < heap_length && heap[child + 1].at < heap[child].at) child++;
        if (heap[child].at >= last.at) break;
        heap[hole] = heap[child];
        hole = child;
    }
    heap[hole] = last;
    return top;
}

static void hang_up(int fd) {
    connections[fd].open = 0;
    connections[fd].generation++;
    close(fd);
}

static void say(int fd, const char *data, int length) {
    if (send(fd, data, length, MSG_NOSIGNAL) != length) {
        cut++; /* nobody reads there: a benchmark's answers always fit */
        hang_up(fd);
    }
}

static int event(char *out, const char *json) {
    char text[1024];
    int length = snprintf(text, sizeof text, "data: %s\n\n", json);
    return sprintf(out, "%x\r\n%s\r\n", length, text);
}

static void write_events(void) {
    char usage[512];
    event(role_event, "{" CHUNK ",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}");
    event(token_event, "{" CHUNK ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}");
    int length = event(last_events, "{" CHUNK ",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}");
    strcpy(usage_events, last_events);
    length += event(last_events + length, "[DONE]");
    strcat(last_events, "0\r\n\r\n");
    snprintf(usage, sizeof usage,
             "{" CHUNK ",\"choices\":[],\"usage\":{\"prompt_tokens\":16,\"completion_tokens\":%d,\"total_tokens\":%d}}",
             tokens, 16 + tokens);
    event(usage_events + strlen(usage_events), usage);
    event(usage_events + strlen(usage_events), "[DONE]");
    strcat(usage_events, "0\r\n\r\n");
}

static void whole(int fd, const char *json) {
    char text[8192];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                          strlen(json), json);
    say(fd, text, length);
}

static double late_quantile(double q) {
    uint64_t wanted = (uint64_t)(q * late_count), sum = 0;
    for (int bin = 0; bin < LATE_BINS; bin++)
        if ((sum += late[bin]) > wanted) return bin + 0.5;
    return 0;
}

/* Requests a second from the 5th to the 95th percent of them: what the tester sends ahead, and how it starts, do not count. */
static double middle_rate(void) {
    uint64_t first = requests / 20, last = requests - 1 - requests / 20;
    if (mode == IMMEDIATE || requests < 20) return 0;
    return 1e9 * (last - first) / (arrivals[last] - arrivals[first] + 1);
}

static void tell_stats(int fd) {
    char json[1024];
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    snprintf(json, sizeof json,
             "{\"requests\":%lu,\"per_s\":%.3f,\"connections\":%lu,\"streams\":%lu,\"cut\":%lu,\"timed\":%lu,\"late_mean_us\":%.3f,"
             "\"late_p50_us\":%.1f,\"late_p99_us\":%.1f,\"late_p999_us\":%.1f,\"late_max_us\":%.1f,\"cpu_s\":%.3f}",
             requests, middle_rate(), accepted, streams, cut, late_count, late_count ? late_sum / 1e3 / late_count : 0,
             late_quantile(0.5), late_quantile(0.99), late_quantile(0.999), late_max / 1e3,
             used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    whole(fd, json);
}

/* One due answer, or one token of a stream. */
static void answer(struct due entry) {
    struct connection *c = &connections[entry.fd];
    if (!c->open || c->generation != entry.generation) return;
    int64_t behind = now() - entry.at;
    if (behind < 0) behind = 0;
    late[behind / 1000 < LATE_BINS ? behind / 1000 : LATE_BINS - 1]++;
    late_sum += behind;
    late_count++;
    if ((uint64_t)behind > late_max) late_max = behind;
    if (mode != SSE) {
        say(entry.fd, OK, sizeof OK - 1);
        return;
    }
    if (++c->step < tokens) {
        say(entry.fd, token_event, strlen(token_event));
        entry.at += gap_ns;
        if (c->open) push(entry);
        return;
    }
    char both[4096];
    int length = snprintf(both, sizeof both, "%s%s", token_event, c->usage ? usage_events : last_events);
    streams++;
    say(entry.fd, both, length);
}

static void handle(int fd, int64_t received_at, const char *body, int body_length) {
    struct connection *c = &connections[fd];
    if (!strncmp(c->buffer, "GET /_stats", 11)) {
        tell_stats(fd);
        return;
    }
    if (!strncmp(c->buffer, "GET /v1/models", 14)) {
        whole(fd, "{\"object\":\"list\",\"data\":[{\"id\":\"target\",\"object\":\"model\",\"created\":1,\"owned_by\":\"us\"}]}");
        return;
    }
    if (!strncmp(c->buffer, "GET /health", 11)) {
        whole(fd, "{}");
        return;
    }
    requests++;
    if (!first_request_at) first_request_at = received_at;
    if (mode != IMMEDIATE) {
        if (requests > arrivals_room) {
            arrivals_room = arrivals_room ? 2 * arrivals_room : 65536;
            arrivals = realloc(arrivals, arrivals_room * sizeof *arrivals);
        }
        arrivals[requests - 1] = received_at;
    }
    if (mode == DELAY) {
        push((struct due){received_at + delay_ns, fd, c->generation});
    } else if (mode == SSE) {
        if (!memmem(body, body_length, "\"stream\":true", 13) && !memmem(body, body_length, "\"stream\": true", 14)) {
            whole(fd, "{" CHUNK ",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"word\"},"
                      "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":16,\"completion_tokens\":1,\"total_tokens\":17}}");
            return;
        }
        char head[1024];
        c->step = 0;
        c->usage = memmem(body, body_length, "include_usage", 13) != NULL;
        say(fd, head, snprintf(head, sizeof head, "%s%s", STREAM_HEAD, role_event));
        if (c->open) push((struct due){received_at + first_ns, fd, c->generation});
    } else {
        say(fd, OK, sizeof OK - 1);
    }
}

/* Requests that have come whole; what follows them stays in the buffer. */
static void take(int fd, int64_t received_at) {
    struct connection *c = &connections[fd];
    while (c->open && c->length) {
        char *end = memmem(c->buffer, c->length, "\r\n\r\n", 4);
        if (!end) break;
        int head = end + 4 - c->buffer, body = 0;
        *end = 0;
        char *field = strcasestr(c->buffer, "\r\ncontent-length:");
        if (field) body = atoi(field + 17);
        *end = '\r';
        if (head + body > BUFFER) {
            hang_up(fd);
            break;
        }
        if (c->length < head + body) break;
        handle(fd, received_at, c->buffer + head, body);
        c->length -= head + body;
        memmove(c->buffer, c->buffer + head + body, c->length);
    }
    if (c->open && c->length == BUFFER) hang_up(fd);
}

static void receive(int fd) {
    struct connection *c = &connections[fd];
    char control[128];
    struct iovec part = {c->buffer + c->length, BUFFER - c->length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    int got = recvmsg(fd, &message, MSG_DONTWAIT);
    if (got <= 0) {
        if (got == 0 || (errno != EAGAIN && errno != EINTR)) hang_up(fd);
        return;
    }
    int64_t received_at = 0;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(&message); each; each = CMSG_NXTHDR(&message, each))
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SCM_TIMESTAMPNS) {
            struct timespec t;
            memcpy(&t, CMSG_DATA(each), sizeof t);
            received_at = (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
        }
    if (!received_at) received_at = now();
    c->length += got;
    take(fd, received_at);
}

static void welcome(int listener, int epoll) {
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        if (fd < 0) return;
        if (fd >= MOST_CONNECTIONS) {
            close(fd);
            continue;
        }
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        struct connection *c = &connections[fd];
        c->open = 1;
        c->length = 0;
        c->generation++;
        if (!c->buffer) c->buffer = malloc(BUFFER + 1);
        accepted++;
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.fd = fd});
    }
}

/* Sleeps through the freeze if there is one now, and says when the next begins. Freezes lie in the middle of their
   period, so that a run of whole periods sees exactly its share of them. */
static int64_t freeze(void) {
    if (!first_request_at) return INT64_MAX;
    int64_t at = now(), into = (at - first_request_at + every_ns / 2) % every_ns;
    if (at - first_request_at >= every_ns / 2 && into < freeze_ns) {
        int64_t until = at - into + freeze_ns;
        struct timespec t = {until / 1000000000, until % 1000000000};
        while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &t, NULL)) continue;
    }
    return at - into + every_ns;
}

static int64_t number(int argc, char **argv, const char *name, int64_t otherwise) {
    for (int index = 1; index + 1 < argc; index++)
        if (!strcmp(argv[index], name)) return atoll(argv[index + 1]);
    return otherwise;
}

int main(int argc, char **argv) {
    for (int index = 1; index + 1 < argc; index++)
        if (!strcmp(argv[index], "--mode")) {
            const char *names[] = {"immediate", "delay", "freeze", "sse"};
            for (int each = 0; each < 4; each++)
                if (!strcmp(argv[index + 1], names[each])) mode = each;
        }
    delay_ns = 1000 * number(argc, argv, "--delay-us", 10000);
    freeze_ns = 1000 * number(argc, argv, "--freeze-us", 200000);
    every_ns = 1000 * number(argc, argv, "--every-us", 2000000);
    first_ns = 1000 * number(argc, argv, "--first-us", 10000);
    gap_ns = 1000 * number(argc, argv, "--gap-us", 10000);
    spin_ns = 1000 * number(argc, argv, "--spin-us", 150);
    tokens = number(argc, argv, "--tokens", 64);
    write_events();

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    /* inherited by the connections */
    if (mode == DELAY || mode == SSE) setsockopt(listener, SOL_SOCKET, SO_TIMESTAMPNS, &yes, sizeof yes);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(number(argc, argv, "--port", 0)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 16384)) {
        perror("responder");
        return 1;
    }
    getsockname(listener, (struct sockaddr *)&address, &size);
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);

    int epoll = epoll_create1(0), timer = timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &(struct epoll_event){.events = EPOLLIN, .data.fd = listener});
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &(struct epoll_event){.events = EPOLLIN, .data.fd = timer});
    int64_t set_for = 0;
    for (;;) {
        int64_t next = mode == FREEZE ? freeze() : INT64_MAX;
        while (heap_length && heap[0].at <= now()) answer(pop());
        if (heap_length) next = heap[0].at - spin_ns;
        if (next != INT64_MAX && next != set_for) {
            struct itimerspec wake = {.it_value = {next / 1000000000, next % 1000000000}};
            if (next > now()) timerfd_settime(timer, TFD_TIMER_ABSTIME, &wake, NULL);
            set_for = next;
        }
        int spinning = heap_length && next <= now();
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, spinning ? 0 : -1);
        for (int index = 0; index < count; index++) {
            int fd = events[index].data.fd;
            uint64_t expired;
            if (fd == listener) welcome(listener, epoll);
            else if (fd == timer) { if (read(timer, &expired, sizeof expired) < 0) continue; }
            else if (connections[fd].open) receive(fd);
            /* what came due while we read does not wait for the rest */
            while (heap_length && heap[0].at <= now()) answer(pop());
        }
    }
}
