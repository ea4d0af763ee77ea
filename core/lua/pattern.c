/* An item with a quantifier (* + - ?) may try what follows it once for each number of bytes it can take, and
 * so on for each of those behind it: len to the power of such items. But where no byte that the item takes
 * can begin what follows, each try but one fails at its first byte. So `%d+-%d+` costs no more than one walk
 * from each place where it may begin, while `.*a.*b` multiplies. Syntax: the Lua 5.4 manual, section 6.4.1.
 */
#include "lua/pattern.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

enum kind {
    ITEM_SET,  /* one byte out of some */
    ITEM_LONG, /* %b, %1: takes many in one way */
    ITEM_EDGE, /* %f: takes none */
    ITEM_MARK, /* ( or ) */
    ITEM_TAIL, /* $ at the end */
    ITEM_END
};

struct item {
    enum kind kind;
    const char *from, *to; /* ITEM_SET: its text without the quantifier */
    char quantifier;       /* or 0 */
};

/* Behind the class that begins at `p`, before `end`; NULL: malformed. */
static const char *class_end(const char *p, const char *end)
{
    if (*p == '%')
        return end - p < 2 ? NULL : p + 2;
    if (*p != '[')
        return p + 1;
    p += p + 1 < end && p[1] == '^' ? 2 : 1;
    do { /* a ] in front is a byte like others */
        if (p >= end)
            return NULL;
        p += *p == '%' ? 2 : 1;
    } while (p >= end || *p != ']');
    return p + 1;
}

/* Reads the item at `p` and returns what is behind it; NULL: malformed. */
static const char *read_item(const char *p, const char *end, struct item *item)
{
    *item = (struct item){.kind = ITEM_END};
    if (p == end)
        return p;
    if (*p == '(' || *p == ')') {
        item->kind = ITEM_MARK;
        return p + 1;
    }
    if (*p == '$' && p + 1 == end) {
        item->kind = ITEM_TAIL;
        return end;
    }
    if (*p == '%' && end - p >= 2 && (p[1] == 'b' || isdigit((unsigned char)p[1]))) {
        item->kind = ITEM_LONG;
        p += p[1] == 'b' ? 4 : 2;
        return p > end ? NULL : p;
    }
    if (*p == '%' && end - p >= 3 && p[1] == 'f' && p[2] == '[') {
        item->kind = ITEM_EDGE;
        return class_end(p + 2, end);
    }
    item->kind = ITEM_SET;
    item->from = p;
    item->to = p = class_end(p, end);
    if (p != NULL && p < end && memchr("*+-?", *p, 4) != NULL)
        item->quantifier = *p++;
    return p;
}

static int is_nul(int byte)
{
    return byte == 0;
}

static bool in_class(int byte, int class)
{
    static const struct {
        char letter;
        int (*is)(int);
    } classes[] = {{'a', isalpha}, {'c', iscntrl},  {'d', isdigit}, {'g', isgraph},
                   {'l', islower}, {'p', ispunct},  {'s', isspace}, {'u', isupper},
                   {'w', isalnum}, {'x', isxdigit}, {'z', is_nul}};
    for (size_t i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {
        if (classes[i].letter == tolower(class))
            return (classes[i].is(byte) != 0) == (islower(class) != 0);
    }
    return byte == class;
}

static bool takes(const struct item *item, int byte)
{
    const unsigned char *p = (const unsigned char *)item->from, *to = (const unsigned char *)item->to;
    if (*p == '.')
        return true;
    if (*p == '%')
        return in_class(byte, p[1]);
    if (*p != '[')
        return *p == byte;
    bool others = p[1] == '^';
    p += others ? 2 : 1;
    for (to--; p < to; p++) {
        if (*p == '%') {
            p++;
            if (in_class(byte, *p))
                return !others;
        } else if (p + 2 < to && p[1] == '-') {
            if (p[0] <= byte && byte <= p[2])
                return !others;
            p += 2;
        } else if (*p == byte) {
            return !others;
        }
    }
    return others;
}

static bool overlap(const struct item *a, const struct item *b)
{
    for (int byte = 0; byte < 256; byte++) {
        if (takes(a, byte) && takes(b, byte))
            return true;
    }
    return false;
}

/* What is behind an item with a quantifier. Where the pattern is malformed, anything: that shows only to who
 * gets so far. */
struct rest {
    bool ambiguous; /* may begin with a byte that the item takes, too */
    bool fails;     /* may not match */
    size_t run;     /* items that each try may compare before the next with a quantifier */
};

static struct rest look_behind(const struct item *item, const char *p, const char *end)
{
    struct rest rest = {false, false, 1};
    bool first = true, run = true; /* nothing yet that has to take a byte; that has a quantifier */
    for (struct item next; (p = read_item(p, end, &next)) != NULL && next.kind != ITEM_END;) {
        bool optional = next.quantifier != 0 && next.quantifier != '+';
        if (next.kind == ITEM_MARK)
            continue;
        rest.fails = rest.fails || !optional;
        if (first && next.kind == ITEM_SET)
            rest.ambiguous = rest.ambiguous || overlap(item, &next);
        else if (first && next.kind != ITEM_TAIL)
            rest.ambiguous = true;
        first = first && optional;
        run = run && next.quantifier == 0;
        rest.run += run;
    }
    if (p == NULL)
        rest.ambiguous = rest.fails = true;
    rest.ambiguous = rest.ambiguous && rest.fails; /* else the first try is the last */
    return rest;
}

bool pattern_bounded(const char *pattern, size_t pattern_len, size_t len, bool anchors, double most)
{
    const char *p = pattern, *end = pattern + pattern_len;
    bool anchored = anchors && pattern_len > 0 && *pattern == '^';
    double places = (double)len + 2, starts = anchored ? 1 : places, whole = (double)pattern_len + 1;
    double branches = 0, power = 0, run = 1, doubled = 1;
    for (const char *at = p; at < end; at++)
        power += memchr("*+-?", *at, 4) != NULL;
    if (starts * pow(places, power + 1) * whole <= most)
        return true; /* whatever it is made of */

    power = 0;
    p += anchored;
    for (struct item item; (p = read_item(p, end, &item)) != NULL && item.kind != ITEM_END;) {
        struct rest rest = {0};
        if (item.quantifier != 0)
            rest = look_behind(&item, p, end);
        if (item.kind == ITEM_LONG || (rest.fails && item.quantifier != '?'))
            power = fmax(power, branches + 1);
        if (rest.ambiguous && item.quantifier == '?')
            doubled *= 2;
        else if (rest.ambiguous)
            branches++;
        if (rest.ambiguous)
            run = fmax(run, (double)rest.run);
    }
    return starts * fmax(whole, pow(places, power) * run) * doubled <= most;
}
