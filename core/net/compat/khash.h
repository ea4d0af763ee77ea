/* What h2o/http2_internal.h needs of klib's khash.h, which Debian's libh2o-dev-common leaves out.
 *
 * Declares the layout of the map from stream ids to streams as libh2o 2.2.5 compiled it in (two flag bits a
 * bucket, both clear: taken) and a look-up by walking the buckets: there are at most 256 of them. Reading
 * only; libh2o alone writes these maps. */
#pragma once
#include <stdint.h>

typedef uint32_t khint_t;
typedef khint_t khiter_t;

#define khash_t(name) kh_##name##_t

#define KHASH_MAP_INIT_INT64(name, type)                                                                     \
    typedef struct {                                                                                         \
        khint_t n_buckets, size, n_occupied, upper_bound;                                                    \
        uint32_t *flags;                                                                                     \
        uint64_t *keys;                                                                                      \
        type *vals;                                                                                          \
    } kh_##name##_t;

#define kh_end(map) ((map)->n_buckets)
#define kh_exist(map, i) (((map)->flags[(i) >> 4] >> (((i)&15) << 1) & 3) == 0)
#define kh_val(map, i) ((map)->vals[i])
#define kh_get(name, map, key)                                                                               \
    ({                                                                                                       \
        khiter_t found_ = 0;                                                                                 \
        while (found_ != kh_end(map) && !(kh_exist(map, found_) && (map)->keys[found_] == (key)))            \
            found_++;                                                                                        \
        found_;                                                                                              \
    })
