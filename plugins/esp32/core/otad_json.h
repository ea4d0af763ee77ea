/* A small, strict, bounded reader for JSON of foreign origin (RFC 8259): it never allocates, never looks
 * past `end`, nests at most 8 deep, and refuses bad UTF-8, lone surrogates, U+0000 and duplicate commas.
 *
 *   struct otad_json json = otad_json_over(bytes, len);
 *   if (!otad_json_object(&json)) return false;
 *   while ((more = otad_json_member(&json, key, sizeof key)) > 0) { ... one of string, integer, skip ... }
 *   return more == 0 && otad_json_end(&json);
 *
 * After any function has failed, the reader's place is unspecified. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct otad_json {
    const uint8_t *at, *end;
    bool first; /* no member of the open object was read yet */
};

struct otad_json otad_json_over(const void *bytes, size_t len);
bool otad_json_object(struct otad_json *json) __attribute__((warn_unused_result));
/* 1: the next member's name is in key and its value comes next; 0: the object is closed; -1: malformed, or
 * the name does not fit. */
int otad_json_member(struct otad_json *json, char *key, size_t size) __attribute__((warn_unused_result));
/* The string's bytes, unescaped and NUL-terminated; its length, or -1: no string, or too long for out. */
int32_t otad_json_string(struct otad_json *json, char *out, size_t size) __attribute__((warn_unused_result));
/* A whole number 0..2^53, written without fraction or exponent. */
bool otad_json_integer(struct otad_json *json, uint64_t *out) __attribute__((warn_unused_result));
bool otad_json_null(struct otad_json *json); /* takes a null if one comes next; else nothing has moved */
bool otad_json_skip(struct otad_json *json) __attribute__((warn_unused_result)); /* any value */
bool otad_json_end(struct otad_json *json)
    __attribute__((warn_unused_result)); /* nothing but space is left */
