/* SPDX-License-Identifier: MIT */
/* Time comes in through a value, so that tests and the spec runner can hold it still. Dates are
 * computed here rather than by libc: no locale, no time zone, no lock, and every event carries two
 * of them. */
#include "base/clock.h"

#include <time.h>

#define MS_PER_DAY INT64_C(86400000)
#define FAKE_START_S INT64_C(1767225600) /* 2026-01-01T00:00:00Z */
#define DAYS_PER_ERA 146097              /* 400 years of the Gregorian calendar */
#define DAYS_TO_1970 719468              /* from 0000-03-01 */

struct date {
    int64_t year;
    int month, day; /* from 1 */
    int hour, minute, second, ms;
    int weekday; /* 0 = Sunday */
};

static int64_t system_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

void clock_real_init(struct clock *c)
{
    struct timespec tick = {0};
    clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
    *c = (struct clock){.fake = false, .coarse_tick_ns = tick.tv_nsec};
}

void clock_fake_init(struct clock *c)
{
    *c = (struct clock){
        .fake = true, .fake_mono_ns = NS_PER_S, .fake_wall_ns = FAKE_START_S * NS_PER_S};
}

void clock_advance(struct clock *c, int64_t ns)
{
    c->fake_mono_ns += ns;
    c->fake_wall_ns += ns;
}

int64_t clock_mono_ns(const struct clock *c)
{
    return c->fake ? c->fake_mono_ns : system_ns(CLOCK_MONOTONIC);
}

int64_t clock_wall_ns(const struct clock *c)
{
    return c->fake ? c->fake_wall_ns : system_ns(CLOCK_REALTIME);
}

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* The proleptic Gregorian calendar with years that begin in March, so that the leap day comes last
 * (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
static struct date date_from_ms(int64_t wall_ms)
{
    int64_t days = floor_div(wall_ms, MS_PER_DAY);
    int rest = (int)(wall_ms % MS_PER_DAY);
    if (rest < 0)
        rest += (int)MS_PER_DAY;
    int64_t shifted = days + DAYS_TO_1970;
    int64_t era = floor_div(shifted, DAYS_PER_ERA);
    int day_of_era = (int)(shifted - era * DAYS_PER_ERA);
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int march_month = (5 * day_of_year + 2) / 153;
    struct date d = {.ms = rest % 1000,
                     .second = rest / 1000 % 60,
                     .minute = rest / 60000 % 60,
                     .hour = rest / 3600000};
    d.day = day_of_year - (153 * march_month + 2) / 5 + 1;
    d.month = march_month < 10 ? march_month + 3 : march_month - 9;
    d.year = era * 400 + year_of_era + (d.month <= 2);
    d.weekday = (int)(days + 4 - floor_div(days + 4, 7) * 7);
    return d;
}

static int64_t days_from_date(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = floor_div(year, 400);
    int year_of_era = (int)(year - era * 400);
    int day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

static int days_in_month(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return month == 2 && leap ? 29 : days[month - 1];
}

/* Appends n with at least `width` digits. */
static void add_padded(struct buf *out, int64_t n, int width)
{
    char digits[20];
    int at = sizeof digits;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    while (rest > 0 || at > (int)sizeof digits - width) {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    }
    if (n < 0)
        buf_addc(out, '-');
    buf_add(out, digits + at, sizeof digits - (size_t)at);
}

void clock_rfc3339(struct buf *out, int64_t wall_ms)
{
    struct date d = date_from_ms(wall_ms);
    const int parts[] = {d.month, d.day, d.hour, d.minute, d.second};
    add_padded(out, d.year, 4);
    for (int i = 0; i < 5; i++) {
        buf_addc(out, "--T::"[i]);
        add_padded(out, parts[i], 2);
    }
    buf_addc(out, '.');
    add_padded(out, d.ms, 3);
    buf_addc(out, 'Z');
}

void clock_compact(struct buf *out, int64_t wall_ms)
{
    struct date d = date_from_ms(wall_ms);
    const int parts[] = {d.month, d.day, d.hour, d.minute, d.second};
    add_padded(out, d.year, 4);
    for (int i = 0; i < 5; i++)
        add_padded(out, parts[i], 2);
}

void clock_http_date(struct buf *out, int64_t wall_ms)
{
    static const char weekdays[] = "SunMonTueWedThuFriSat";
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct date d = date_from_ms(wall_ms);
    const int parts[] = {d.hour, d.minute, d.second};
    buf_add(out, weekdays + 3 * (size_t)d.weekday, 3);
    buf_lit(out, ", ");
    add_padded(out, d.day, 2);
    buf_addc(out, ' ');
    buf_add(out, months + 3 * ((size_t)d.month - 1), 3);
    buf_addc(out, ' ');
    add_padded(out, d.year, 4);
    for (int i = 0; i < 3; i++) {
        buf_addc(out, " ::"[i]);
        add_padded(out, parts[i], 2);
    }
    buf_lit(out, " GMT");
}

/* Takes `width` digits off s; false if they are not there. */
static bool take_digits(struct str *s, size_t width, int *ret)
{
    int value = 0;
    if (s->n < width)
        return false;
    for (size_t i = 0; i < width; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        value = value * 10 + (s->p[i] - '0');
    }
    *s = (struct str){s->p + width, s->n - width};
    *ret = value;
    return true;
}

/* Takes one character of `either` off s. */
static bool take_char(struct str *s, const char *either)
{
    if (s->n == 0 || s->p[0] == '\0' || !strchr(either, s->p[0]))
        return false;
    *s = (struct str){s->p + 1, s->n - 1};
    return true;
}

static bool take_fraction_ms(struct str *s, int *ret)
{
    int ms = 0, digit;
    size_t count = 0;
    while (take_digits(s, 1, &digit)) {
        if (++count <= 3)
            ms = ms * 10 + digit;
    }
    if (count == 0 || count > 9)
        return false;
    for (size_t i = count; i < 3; i++)
        ms *= 10;
    *ret = ms;
    return true;
}

static bool take_offset_minutes(struct str *s, int *ret)
{
    int hours, minutes;
    if (take_char(s, "Zz")) {
        *ret = 0;
        return true;
    }
    bool west = s->n > 0 && s->p[0] == '-';
    if (!take_char(s, "+-") || !take_digits(s, 2, &hours) || !take_char(s, ":") ||
        !take_digits(s, 2, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret = (hours * 60 + minutes) * (west ? -1 : 1);
    return true;
}

bool clock_parse_rfc3339(struct str s, int64_t *ret_wall_ms)
{
    int year, month, day, hour, minute, second, ms = 0, offset;
    if (!take_digits(&s, 4, &year) || !take_char(&s, "-") || !take_digits(&s, 2, &month) ||
        !take_char(&s, "-") || !take_digits(&s, 2, &day) || !take_char(&s, "Tt"))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (!take_digits(&s, 2, &hour) || !take_char(&s, ":") || !take_digits(&s, 2, &minute) ||
        !take_char(&s, ":") || !take_digits(&s, 2, &second))
        return false;
    /* A leap second is written :60 and counted as the second after it. */
    if (hour > 23 || minute > 59 || second > (minute == 59 ? 60 : 59))
        return false;
    if (take_char(&s, ".") && !take_fraction_ms(&s, &ms))
        return false;
    if (!take_offset_minutes(&s, &offset) || s.n != 0)
        return false;
    int64_t seconds = (int64_t)hour * 3600 + ((int64_t)minute - offset) * 60 + second;
    *ret_wall_ms = days_from_date(year, month, day) * MS_PER_DAY + seconds * 1000 + ms;
    return true;
}
