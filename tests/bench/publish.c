/* 1,000 devices (or any number) that publish their status with QoS 1 as fast as the broker takes it.
 *
 *   bench-publish HOST PORT FIRST_DEVICE DEVICES MESSAGES WINDOW
 *
 * Connects the devices FIRST_DEVICE.. (client id and user `device-<id>`, password `bench-<id>`) and prints
 * "ready". Then, for each line "SEQ" on standard input, every device publishes MESSAGES messages with `seq`
 * from SEQ on, at most WINDOW of them unacknowledged; when all are acknowledged one line of JSON tells the
 * times (CLOCK_MONOTONIC, seconds). Ends with standard input.
 *
 * It shares the machine with what it measures, so it is written to be cheap: one thread, MQTT 3.1.1 by
 * hand, one write() for a batch of messages, and a low-water mark on each socket, so that a wake-up finds a
 * batch of acknowledgements and not one. All that can arrive is CONNACK and PUBACK, four bytes each. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    CONNECT = 0x10,
    PUBLISH_QOS1 = 0x32,
    CONNACK = 0x20,
    PUBACK = 0x40,
    REPLY = 4,
    PACKET_MAX = 320,
    WINDOW_MAX = 100,
    EVENTS = 256
};

struct device {
    int fd;
    unsigned id;
    unsigned sent, acknowledged; /* in this run */
    int low_water;
    unsigned char reply[REPLY]; /* begun */
    size_t reply_len;
};

struct run {
    int epoll;
    struct device *devices;
    unsigned count, window, seq, finished;
    unsigned messages;       /* of each device in a run; 0 while connecting */
    unsigned long published; /* the payload's heap and uptime move with it */
};

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-publish: %s: %s\n", what, errno != 0 ? strerror(errno) : "refused");
    exit(1);
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* A length before its bytes, as MQTT has it for strings. */
static unsigned char *put_string(unsigned char *to, const char *text)
{
    size_t len = strlen(text);
    *to++ = (unsigned char)(len >> 8);
    *to++ = (unsigned char)len;
    memcpy(to, text, len);
    return to + len;
}

/* The socket's send buffer holds a whole window, so a blocking write does not block. */
static void write_all(int fd, const unsigned char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0)
            die("write");
        bytes += n;
        len -= (size_t)n;
    }
}

static void send_connect(struct device *device)
{
    static const unsigned char start[] = {0, 4, 'M', 'Q', 'T', 'T', 4, 0xc2, 0, 0}; /* clean, no keep-alive */
    unsigned char packet[PACKET_MAX];
    char name[32], password[32];
    snprintf(name, sizeof(name), "device-%u", device->id);
    snprintf(password, sizeof(password), "bench-%u", device->id);
    memcpy(packet + 2, start, sizeof(start));
    unsigned char *end = put_string(packet + 2 + sizeof(start), name);
    end = put_string(put_string(end, name), password);
    packet[0] = CONNECT;
    packet[1] = (unsigned char)(end - packet - 2); /* below 128 */
    write_all(device->fd, packet, (size_t)(end - packet));
}

static size_t put_publish(struct run *run, const struct device *device, unsigned char *packet)
{
    char topic[32];
    snprintf(topic, sizeof(topic), "device/%u/status", device->id);
    unsigned char *end = put_string(packet + 3, topic);
    unsigned packet_id = device->sent % 65535 + 1;
    *end++ = (unsigned char)(packet_id >> 8);
    *end++ = (unsigned char)packet_id;
    unsigned long n = run->published++;
    end += snprintf((char *)end, PACKET_MAX - 64,
                    "{\"status\":\"online\",\"session\":\"bench\",\"firmware_version\":\"1.2.0\",\"chip\":"
                    "\"esp32\",\"uptime\":%u,\"rssi\":-61,\"heap\":%lu,\"battery\":87,\"seq\":%u}",
                    run->seq + device->sent, 180000 + n % 4096, run->seq + device->sent);
    size_t len = (size_t)(end - packet) - 3; /* 128 to 16383: two bytes tell it */
    packet[0] = PUBLISH_QOS1;
    packet[1] = (unsigned char)(len % 128 | 128);
    packet[2] = (unsigned char)(len / 128);
    return len + 3;
}

/* Next wake-up: when half of the window has come free, or at the end all of it. */
static void await_replies(struct run *run, struct device *device)
{
    unsigned open = device->sent - device->acknowledged;
    unsigned wanted = device->sent < run->messages ? open - run->window / 2 : open;
    int bytes = REPLY * (int)wanted - (int)device->reply_len;
    if (wanted > 0 && device->low_water != bytes) {
        device->low_water = bytes;
        if (setsockopt(device->fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof(bytes)) != 0)
            die("SO_RCVLOWAT");
    }
}

static void publish_batch(struct run *run, struct device *device)
{
    unsigned char batch[WINDOW_MAX * PACKET_MAX];
    size_t len = 0;
    while (device->sent < run->messages && device->sent - device->acknowledged < run->window) {
        len += put_publish(run, device, batch + len);
        device->sent++;
    }
    write_all(device->fd, batch, len);
    await_replies(run, device);
}

static void take_reply(struct run *run, struct device *device)
{
    errno = 0;
    if (device->reply[0] == CONNACK && device->reply[3] == 0) {
        run->finished++;
        return;
    }
    if (device->reply[0] != PUBACK)
        die("broker");
    if (++device->acknowledged == run->messages)
        run->finished++;
}

static void on_readable(struct run *run, struct device *device)
{
    unsigned char bytes[REPLY * WINDOW_MAX];
    ssize_t n = recv(device->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (n == 0)
        errno = ECONNRESET;
    if (n <= 0)
        die("broker");
    for (ssize_t i = 0; i < n; i++) {
        device->reply[device->reply_len++] = bytes[i];
        if (device->reply_len == REPLY) {
            device->reply_len = 0;
            take_reply(run, device);
        }
    }
    if (run->messages == 0)
        return; /* connecting */
    if (device->sent < run->messages && device->sent - device->acknowledged <= run->window / 2)
        publish_batch(run, device);
    else
        await_replies(run, device);
}

/* Until every device has finished: connected, or had its last message acknowledged. */
static void run_until_finished(struct run *run)
{
    struct epoll_event events[EVENTS];
    while (run->finished < run->count) {
        int n = epoll_wait(run->epoll, events, EVENTS, -1);
        if (n < 0 && errno != EINTR)
            die("epoll_wait");
        for (int i = 0; i < n; i++)
            on_readable(run, events[i].data.ptr);
    }
    run->finished = 0;
}

static void connect_device(struct run *run, struct device *device, const struct sockaddr_in *broker)
{
    int on = 1;
    device->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (device->fd < 0 || connect(device->fd, (const struct sockaddr *)broker, sizeof(*broker)) != 0 ||
        setsockopt(device->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0)
        die("connect");
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = device};
    if (epoll_ctl(run->epoll, EPOLL_CTL_ADD, device->fd, &event) != 0)
        die("epoll_ctl");
    send_connect(device);
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (end == text || (*end != '\0' && *end != '\n') || value > INT32_MAX) {
        fprintf(stderr, "bench-publish: not a number: %s\n", text);
        exit(2);
    }
    return (unsigned)value;
}

int main(int argc, char **argv)
{
    if (argc != 7) {
        fputs("usage: bench-publish HOST PORT FIRST_DEVICE DEVICES MESSAGES WINDOW\n", stderr);
        return 2;
    }
    struct sockaddr_in broker = {.sin_family = AF_INET, .sin_port = htons((uint16_t)number(argv[2]))};
    unsigned messages = number(argv[5]);
    struct run run = {.epoll = epoll_create1(EPOLL_CLOEXEC),
                      .count = number(argv[4]),
                      .window = number(argv[6])};
    if (inet_pton(AF_INET, argv[1], &broker.sin_addr) != 1 || run.count == 0 || messages == 0 ||
        run.window == 0 || run.window > WINDOW_MAX) {
        fputs("bench-publish: HOST is an IPv4 address, the numbers above zero, WINDOW up to 100\n", stderr);
        return 2;
    }
    run.devices = calloc(run.count, sizeof(*run.devices));
    if (run.devices == NULL || run.epoll < 0)
        die("start");
    for (unsigned i = 0; i < run.count; i++) {
        run.devices[i].id = number(argv[3]) + i;
        connect_device(&run, &run.devices[i], &broker);
    }
    run_until_finished(&run);
    puts("ready");
    fflush(stdout);

    run.messages = messages;
    char line[32];
    while (fgets(line, sizeof(line), stdin) != NULL) {
        run.seq = number(line);
        double start = now();
        for (unsigned i = 0; i < run.count; i++) {
            run.devices[i].sent = run.devices[i].acknowledged = 0;
            publish_batch(&run, &run.devices[i]);
        }
        run_until_finished(&run);
        printf("{\"started\": %.6f, \"ended\": %.6f, \"last_seq\": %u}\n", start, now(),
               run.seq + run.messages - 1);
        fflush(stdout);
    }
    return 0;
}
