/* Access tokens. Input with a line end is a header and claims as JSON, which are then encoded and signed; any
 * other is a token, tried as it is and once more with the right signature, so that the fuzzer gets behind it.
 * What is accepted must keep the promises of fleet/jwt.h. */
#include "fleet/jwt.h"
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOW 1790000000
#define VARIANT sodium_base64_VARIANT_URLSAFE_NO_PADDING

static const uint8_t key[32] = "thirty-two bytes for jwt_fuzz.c!"; /* 32 bytes, no NUL */
static struct jwt_keys *keys;

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    char path[] = "/tmp/jwt_fuzz-XXXXXX", *error;
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, key, sizeof(key)) != sizeof(key) || close(fd) != 0 ||
        (keys = jwt_keys_load(path, &error)) == NULL)
        abort();
    return unlink(path);
}

static void check(bool promise)
{
    if (!promise)
        abort();
}

static void verify(const char *token, size_t len)
{
    struct jwt_claims claims, again;
    char made[1024];
    char *copy = malloc(len + 1); /* its own block, so that a read behind it is seen */
    memcpy(copy + 1, token, len);
    enum jwt_error error = jwt_verify(keys, copy + 1, len, "otad", "fleet", NOW, &claims);
    free(copy);
    check(jwt_error_text(error) != NULL);
    if (error != JWT_OK)
        return;
    check(claims.sub > 0 && claims.exp > NOW && claims.iat <= NOW + JWT_LEEWAY && strlen(claims.sid) == 36 &&
          strlen(claims.jti) >= 1 && jwt_role_text(claims.role) != NULL);
    if (claims.exp <= claims.iat) /* ours never are */
        return;
    size_t made_len = jwt_sign(keys, &claims, "otad", "fleet", made, sizeof(made));
    check(made_len != 0 && jwt_verify(keys, made, made_len, "otad", "fleet", NOW, &again) == JWT_OK);
    check(again.sub == claims.sub && again.role == claims.role && again.iat == claims.iat &&
          again.exp == claims.exp && strcmp(again.sid, claims.sid) == 0 &&
          strcmp(again.jti, claims.jti) == 0);
}

static void seal_and_verify(char *token)
{
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    size_t len = strlen(token);
    crypto_auth_hmacsha256(mac, (const uint8_t *)token, len, key);
    token[len] = '.';
    sodium_bin2base64(token + len + 1, 44, mac, sizeof(mac), VARIANT);
    verify(token, strlen(token));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char token[16384];
    if (size > 8192)
        return 0;
    const uint8_t *line = memchr(data, '\n', size);
    if (line != NULL) {
        size_t head = (size_t)(line - data);
        sodium_bin2base64(token, sizeof(token), data, head, VARIANT);
        strcat(token, ".");
        sodium_bin2base64(token + strlen(token), sizeof(token) - strlen(token), line + 1, size - head - 1,
                          VARIANT);
        seal_and_verify(token);
        return 0;
    }
    verify((const char *)data, size);
    memcpy(token, data, size);
    token[size] = '\0';
    char *dot = strchr(token, '.'), *second = dot == NULL ? NULL : strchr(dot + 1, '.');
    if (second != NULL)
        *second = '\0';
    seal_and_verify(token);
    return 0;
}
