/* Makes Secure Boot signatures with fresh keys, for tests: v2 blocks of RSA-3072 and of the three curves, and
 * v1 signatures. The values that only a device's RSA hardware reads (rinv, m') are filled with a pattern. */
#pragma once
#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>
#include <zlib.h>

enum made_kind { MADE_RSA, MADE_P192, MADE_P256, MADE_P384, MADE_KINDS };

static inline size_t made_coordinate(enum made_kind kind)
{
    return kind == MADE_P192 ? 24 : kind == MADE_P256 ? 32 : 48;
}

static inline EVP_PKEY *made_key(enum made_kind kind)
{
    static const char *const curves[] = {NULL, "prime192v1", "prime256v1", "secp384r1"};
    EVP_PKEY *key = kind == MADE_RSA ? EVP_RSA_gen(3072) : EVP_EC_gen(curves[kind]);
    assert(key);
    return key;
}

static inline void made_number(EVP_PKEY *key, const char *name, uint8_t *to, size_t len)
{
    BIGNUM *number = NULL;
    int got = EVP_PKEY_get_bn_param(key, name, &number);
    assert(got == 1);
    got = BN_bn2lebinpad(number, to, (int)len);
    assert(got == (int)len);
    (void)got;
    BN_free(number);
}

/* Signs a digest; what OpenSSL gives (RSA: 384 bytes big-endian, ECDSA: DER) stands in out. */
static inline size_t made_sign(EVP_PKEY *key, const uint8_t *digest, size_t len, uint8_t out[512])
{
    size_t size = 512;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    int good = EVP_PKEY_sign_init(ctx) == 1;
    if (EVP_PKEY_is_a(key, "RSA"))
        good = good && EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 32) == 1;
    good = good && EVP_PKEY_sign(ctx, out, &size, digest, len) == 1;
    assert(good);
    (void)good;
    EVP_PKEY_CTX_free(ctx);
    return size;
}

static inline void made_rs(EVP_PKEY *key, const uint8_t *digest, size_t len, BIGNUM **r, BIGNUM **s)
{
    uint8_t der[512];
    const uint8_t *from = der;
    size_t size = made_sign(key, digest, len, der);
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &from, (long)size);
    *r = BN_dup(ECDSA_SIG_get0_r(signature));
    *s = BN_dup(ECDSA_SIG_get0_s(signature));
    ECDSA_SIG_free(signature);
}

static inline void made_crc(uint8_t block[1216])
{
    uint32_t crc = (uint32_t)crc32(0, block, 1196);
    for (int i = 0; i < 4; i++)
        block[1196 + i] = (uint8_t)(crc >> 8 * i);
}

static inline void made_block(uint8_t block[1216], const uint8_t *data, size_t len, enum made_kind kind,
                              EVP_PKEY *key)
{
    size_t digest_len = kind == MADE_P384 ? 48 : 32;
    memset(block, 0, 1216);
    block[0] = 0xE7;
    block[1] = kind == MADE_RSA ? 2 : 3;
    block[2] = kind == MADE_P384;
    EVP_Digest(data, len, block + 4, NULL, kind == MADE_P384 ? EVP_sha384() : EVP_sha256(), NULL);
    if (kind == MADE_RSA) {
        uint8_t signature[512];
        made_number(key, OSSL_PKEY_PARAM_RSA_N, block + 36, 384);
        made_number(key, OSSL_PKEY_PARAM_RSA_E, block + 420, 4);
        memset(block + 424, 0x5A, 388);
        made_sign(key, block + 4, 32, signature);
        for (int i = 0; i < 384; i++)
            block[812 + i] = signature[383 - i];
    } else {
        size_t n = made_coordinate(kind), field = kind == MADE_P384 ? 96 : 64;
        uint8_t *at = block + 4 + digest_len;
        BIGNUM *r, *s;
        *at++ = (uint8_t)kind;
        made_number(key, OSSL_PKEY_PARAM_EC_PUB_X, at, n);
        made_number(key, OSSL_PKEY_PARAM_EC_PUB_Y, at + n, n);
        made_rs(key, block + 4, digest_len, &r, &s);
        BN_bn2lebinpad(r, at + field, (int)n);
        BN_bn2lebinpad(s, at + field + n, (int)n);
        BN_free(r);
        BN_free(s);
    }
    made_crc(block);
}

/* One block in a sector of 4096 bytes. */
static inline void made_sector(uint8_t sector[4096], const uint8_t *data, size_t len, enum made_kind kind)
{
    EVP_PKEY *key = made_key(kind);
    memset(sector, 0xFF, 4096);
    made_block(sector, data, len, kind, key);
    EVP_PKEY_free(key);
}

static inline void made_v1(uint8_t block[68], const uint8_t *data, size_t len)
{
    uint8_t digest[32];
    BIGNUM *r, *s;
    EVP_PKEY *key = made_key(MADE_P256);
    EVP_Digest(data, len, digest, NULL, EVP_sha256(), NULL);
    made_rs(key, digest, 32, &r, &s);
    memset(block, 0, 4);
    BN_bn2binpad(r, block + 4, 32);
    BN_bn2binpad(s, block + 36, 32);
    BN_free(r);
    BN_free(s);
    EVP_PKEY_free(key);
}
