/* A V4L2 camera that is not there: loaded with LD_PRELOAD into a program that captures, it answers for the device.
 *
 * FAKE_V4L2_DEVICES  how the paths of devices begin (".../dev/video"); each is an ordinary file, and to remove it
 *                   unplugs the camera. What the file says is what the camera knows: a line "MJPG 1280 720 30" a
 *                   format, size and frame rate; or "metadata"; empty: MJPG at 320x240 and 25 fps
 * FAKE_V4L2_JPEG    the picture that it shows, for ever, as MJPG; in other formats it is grey
 * FAKE_V4L2_MODE    a file whose first letter says what the camera does: p(lay), s(tall), b(lock: the read of a frame
 *                   never returns), t(runcated JPEG), or m(etadata), a node without pictures
 *
 * Asked for what it does not know, it stays at what it has or takes the first that comes near, as drivers do. The
 * descriptor is a timerfd, so that select() and poll() wait for the next frame as with a real driver.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define BUFFERS 4
#define BUFFER_BYTES (4 << 20)
#define MOST_LINES 32

static int fake_fd = -1;      /* one device is open at a time */
static char fake_path[4096];
static unsigned char *memory; /* of all buffers */
static int queue[BUFFERS], queued;

struct line { uint32_t format, width, height, fps; };
static struct line lines[MOST_LINES], now; /* what the camera knows, and what it is set to */
static int line_count, is_metadata;

static int is_fake(const char *path) {
    const char *prefix = getenv("FAKE_V4L2_DEVICES");
    return prefix && path && strncmp(path, prefix, strlen(prefix)) == 0 && access(path, F_OK) == 0;
}

static char mode(void) {
    char letter = 'p';
    FILE *file = fopen(getenv("FAKE_V4L2_MODE"), "r");
    if (file) {
        letter = (char)fgetc(file);
        fclose(file);
    }
    return letter;
}

/* What the camera in the file fake_path knows; it is set to the first line. */
static void read_lines(void) {
    char name[8];
    line_count = is_metadata = 0;
    FILE *file = fopen(fake_path, "r");
    while (file && line_count < MOST_LINES && fscanf(file, "%7s", name) == 1) {
        struct line *next = &lines[line_count];
        if (strncmp(name, "meta", 4) == 0) { is_metadata = 1; break; }
        next->format = v4l2_fourcc(name[0], name[1], name[2], name[3]);
        if (fscanf(file, "%u %u %u", &next->width, &next->height, &next->fps) == 3) line_count++;
    }
    if (file) fclose(file);
    if (line_count == 0) lines[line_count++] = (struct line){V4L2_PIX_FMT_MJPEG, 320, 240, 25};
    now = lines[0];
}

/* The first line that agrees with `wanted` in format and size (each, unless 0); NULL if none does. */
static struct line *find(struct line wanted) {
    for (int i = 0; i < line_count; i++) {
        if (wanted.format && wanted.format != lines[i].format) continue;
        if (wanted.width && (wanted.width != lines[i].width || wanted.height != lines[i].height)) continue;
        if (wanted.fps && wanted.fps != lines[i].fps) continue;
        return &lines[i];
    }
    return NULL;
}

/* The `index`th line of those that agree with `wanted` and differ from all before them in format, size or rate, as
 * far as `differ` (1: format, 2: size, 3: rate) goes; NULL if there are fewer. */
static struct line *nth(struct line wanted, uint32_t index, int differ) {
    for (int i = 0; i < line_count; i++) {
        struct line line = lines[i];
        if (differ < 3) line.fps = 0;
        if (differ < 2) line.width = line.height = 0;
        if (find(line) != &lines[i] || (wanted.format && wanted.format != lines[i].format)) continue;
        if (wanted.width && (wanted.width != lines[i].width || wanted.height != lines[i].height)) continue;
        if (index-- == 0) return &lines[i];
    }
    return NULL;
}

static void run_timer(int on) {
    long frame_ns = on ? 1000000000L / now.fps - 1 : 0;
    struct itimerspec times = {{0, frame_ns}, {0, frame_ns}};
    timerfd_settime(fake_fd, 0, &times, NULL);
}

static uint32_t fill(unsigned char *buffer) {
    if (now.format != V4L2_PIX_FMT_MJPEG) {
        memset(buffer, 128, 2 * now.width * now.height);
        return 2 * now.width * now.height;
    }
    FILE *file = fopen(getenv("FAKE_V4L2_JPEG"), "rb");
    uint32_t size = file ? (uint32_t)fread(buffer, 1, BUFFER_BYTES, file) : 0;
    if (file) fclose(file);
    return mode() == 't' ? size / 2 : size;
}

static int open_fake(const char *path) {
    if (fake_fd >= 0) { errno = EBUSY; return -1; }
    snprintf(fake_path, sizeof fake_path, "%s", path);
    read_lines();
    fake_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!memory) memory = mmap(NULL, BUFFERS * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    queued = 0;
    return fake_fd;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

#define OPEN_LIKE(name)                                                          \
    int name(const char *path, int flags, ...) {                                 \
        va_list rest;                                                            \
        va_start(rest, flags);                                                   \
        mode_t bits = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                            \
        return is_fake(path) ? open_fake(path) : REAL(name)(path, flags, bits);      \
    }
OPEN_LIKE(open)
OPEN_LIKE(open64)

int close(int fd) {
    if (fd == fake_fd && fd >= 0) fake_fd = -1;
    return REAL(close)(fd);
}

#define MMAP_LIKE(name, offset_type)                                                            \
    void *name(void *address, size_t length, int protection, int flags, int fd, offset_type at) { \
        if (fd >= 0 && fd == fake_fd) return memory + at;                                       \
        return REAL(name)(address, length, protection, flags, fd, at);                          \
    }
MMAP_LIKE(mmap, off_t)
MMAP_LIKE(mmap64, off64_t)

int munmap(void *address, size_t length) {
    unsigned char *place = address;
    if (memory && place >= memory && place < memory + BUFFERS * BUFFER_BYTES) return 0;
    return REAL(munmap)(address, length);
}

static int no(int error) { errno = error; return -1; }

static int answer(unsigned long request, void *argument) {
    if (access(fake_path, F_OK) != 0) return no(ENODEV);
    switch (request) {
    case VIDIOC_QUERYCAP: {
        struct v4l2_capability *told = argument;
        memset(told, 0, sizeof *told);
        strcpy((char *)told->driver, "fake");
        strcpy((char *)told->card, "Fake Camera");
        strcpy((char *)told->bus_info, "platform:fake");
        told->device_caps = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        if (mode() == 'm' || is_metadata) told->device_caps = V4L2_CAP_META_CAPTURE | V4L2_CAP_STREAMING;
        told->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING | V4L2_CAP_DEVICE_CAPS;
        return 0;
    }
    case VIDIOC_ENUM_FMT: {
        struct v4l2_fmtdesc *told = argument;
        struct line *line = nth((struct line){0}, told->index, 1);
        if (!line || told->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return no(EINVAL);
        strcpy((char *)told->description, "a format");
        told->pixelformat = line->format;
        return 0;
    }
    case VIDIOC_ENUM_FRAMESIZES: {
        struct v4l2_frmsizeenum *told = argument;
        struct line *line = nth((struct line){.format = told->pixel_format}, told->index, 2);
        if (!line) return no(EINVAL);
        told->type = V4L2_FRMSIZE_TYPE_DISCRETE;
        told->discrete.width = line->width;
        told->discrete.height = line->height;
        return 0;
    }
    case VIDIOC_ENUM_FRAMEINTERVALS: {
        struct v4l2_frmivalenum *told = argument;
        struct line *line = nth((struct line){told->pixel_format, told->width, told->height, 0}, told->index, 3);
        if (!line) return no(EINVAL);
        told->type = V4L2_FRMIVAL_TYPE_DISCRETE;
        told->discrete.numerator = 1;
        told->discrete.denominator = line->fps;
        return 0;
    }
    case VIDIOC_G_FMT:
    case VIDIOC_S_FMT:
    case VIDIOC_TRY_FMT: {
        struct v4l2_format *told = argument;
        if (told->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return no(EINVAL);
        struct line wanted = {told->fmt.pix.pixelformat, told->fmt.pix.width, told->fmt.pix.height, 0}, *set = NULL;
        if (request != VIDIOC_G_FMT) set = find(wanted);
        if (request != VIDIOC_G_FMT && !set) set = find((struct line){.format = wanted.format});
        if (!set) set = &now;
        if (request == VIDIOC_S_FMT) now = *set;
        told->fmt.pix.width = set->width;
        told->fmt.pix.height = set->height;
        told->fmt.pix.pixelformat = set->format;
        told->fmt.pix.field = V4L2_FIELD_NONE;
        told->fmt.pix.bytesperline = set->format == V4L2_PIX_FMT_MJPEG ? 0 : 2 * set->width;
        told->fmt.pix.sizeimage = BUFFER_BYTES;
        return 0;
    }
    case VIDIOC_G_PARM:
    case VIDIOC_S_PARM: {
        struct v4l2_streamparm *told = argument;
        struct v4l2_fract *interval = &told->parm.capture.timeperframe;
        if (request == VIDIOC_S_PARM && interval->numerator) {
            struct line *set = find((struct line){now.format, now.width, now.height, interval->denominator});
            if (set && interval->numerator == 1) now = *set;
        }
        told->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
        interval->numerator = 1;
        interval->denominator = now.fps;
        return 0;
    }
    case VIDIOC_REQBUFS: {
        struct v4l2_requestbuffers *asked = argument;
        if (asked->count > BUFFERS) asked->count = BUFFERS;
        return 0;
    }
    case VIDIOC_QUERYBUF: {
        struct v4l2_buffer *buffer = argument;
        buffer->length = BUFFER_BYTES;
        buffer->m.offset = buffer->index * BUFFER_BYTES;
        return 0;
    }
    case VIDIOC_QBUF:
        if (queued < BUFFERS) queue[queued++] = (int)((struct v4l2_buffer *)argument)->index;
        return 0;
    case VIDIOC_DQBUF: {
        struct v4l2_buffer *buffer = argument;
        uint64_t expirations;
        while (mode() == 'b') pause();
        if (mode() == 's') run_timer(0);
        if (queued == 0 || read(fake_fd, &expirations, sizeof expirations) < 0 || mode() == 's') return no(EAGAIN);
        buffer->index = (uint32_t)queue[0];
        memmove(queue, queue + 1, sizeof queue - sizeof queue[0]);
        queued--;
        buffer->length = BUFFER_BYTES;
        buffer->bytesused = fill(memory + buffer->index * BUFFER_BYTES);
        buffer->flags = 0;
        return 0;
    }
    case VIDIOC_STREAMON:
        run_timer(mode() != 's');
        return 0;
    case VIDIOC_STREAMOFF:
        run_timer(0);
        queued = 0;
        return 0;
    default:
        return no(EINVAL);
    }
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (fd >= 0 && fd == fake_fd) return answer(request & 0xffffffffUL, argument);
    return REAL(ioctl)(fd, request, argument);
}
