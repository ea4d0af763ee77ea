/* Secure Boot signature blocks: layout from the ESP-IDF security guide, sections "Signature Block Format",
 * and espsecure's output. Big numbers in v2 blocks are little-endian, in v1 blocks big-endian. */
#include "fleet/secure_boot.h"
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdbool.h>
#include <string.h>
#include <zlib.h>

enum {
    BLOCK = 1216,
    BLOCKS = 3,
    MAGIC = 0xE7,
    VERSION_RSA = 2,
    VERSION_ECDSA = 3,
    DIGEST = 4, /* offsets within a block */
    RSA_MODULUS = 36,
    RSA_EXPONENT = 420,
    RSA_SIGNATURE = 812,
    CRC = 1196,
    RSA_BYTES = 384,
};

static const struct curve {
    const char *name;
    size_t bytes;  /* of one coordinate */
    size_t digest; /* bytes */
    uint8_t hash;  /* the block's byte 2 */
    size_t field;  /* bytes that the block gives the key, and the signature */
} curves[] = {
    {"prime192v1", 24, 32, 0, 64},
    {"prime256v1", 32, 32, 0, 64},
    {"secp384r1", 48, 48, 1, 96},
};

const char *secure_boot_name(enum secure_boot_kind kind)
{
    static const char *const names[] = {"none", "secure_boot_v1", "secure_boot_v2_rsa",
                                        "secure_boot_v2_ecdsa"};
    return names[kind];
}

static bool filled(const uint8_t *bytes, size_t len, uint8_t with)
{
    for (size_t i = 0; i < len; i++)
        if (bytes[i] != with)
            return false;
    return true;
}

static void reverse(uint8_t *out, const uint8_t *in, size_t len)
{
    for (size_t i = 0; i < len; i++)
        out[i] = in[len - 1 - i];
}

static EVP_PKEY *import_key(const char *type, OSSL_PARAM *params)
{
    EVP_PKEY *key = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    if (ctx && params && EVP_PKEY_fromdata_init(ctx) == 1 &&
        EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    EVP_PKEY_CTX_free(ctx);
    return key;
}

static EVP_PKEY *rsa_key(const uint8_t *block)
{
    BIGNUM *n = BN_lebin2bn(block + RSA_MODULUS, RSA_BYTES, NULL);
    BIGNUM *e = BN_lebin2bn(block + RSA_EXPONENT, 4, NULL);
    OSSL_PARAM_BLD *fields = OSSL_PARAM_BLD_new();
    OSSL_PARAM *params = NULL;
    if (n && e && fields && OSSL_PARAM_BLD_push_BN(fields, OSSL_PKEY_PARAM_RSA_N, n) &&
        OSSL_PARAM_BLD_push_BN(fields, OSSL_PKEY_PARAM_RSA_E, e))
        params = OSSL_PARAM_BLD_to_param(fields);
    EVP_PKEY *key = import_key("RSA", params);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(fields);
    BN_free(e);
    BN_free(n);
    return key;
}

static EVP_PKEY *ec_key(const struct curve *curve, const uint8_t *point)
{
    uint8_t octets[1 + 2 * 48] = {POINT_CONVERSION_UNCOMPRESSED};
    char name[16];
    strcpy(name, curve->name);
    reverse(octets + 1, point, curve->bytes);
    reverse(octets + 1 + curve->bytes, point + curve->bytes, curve->bytes);
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, octets, 1 + 2 * curve->bytes),
        OSSL_PARAM_construct_end(),
    };
    return import_key("EC", params);
}

static bool rsa_verifies(EVP_PKEY *key, const uint8_t *block)
{
    uint8_t signature[RSA_BYTES];
    reverse(signature, block + RSA_SIGNATURE, RSA_BYTES);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool good = ctx && EVP_PKEY_verify_init(ctx) == 1 &&
                EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) == 1 &&
                EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1 &&
                EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, 32) == 1 &&
                EVP_PKEY_verify(ctx, signature, sizeof(signature), block + DIGEST, 32) == 1;
    EVP_PKEY_CTX_free(ctx);
    return good;
}

static bool ec_verifies(EVP_PKEY *key, const struct curve *curve, const uint8_t *digest, const uint8_t *rs)
{
    uint8_t der[128], *to = der;
    int len = 0;
    BIGNUM *r = BN_lebin2bn(rs, (int)curve->bytes, NULL);
    BIGNUM *s = BN_lebin2bn(rs + curve->bytes, (int)curve->bytes, NULL);
    ECDSA_SIG *signature = ECDSA_SIG_new();
    if (r && s && signature && ECDSA_SIG_set0(signature, r, s) == 1) {
        r = s = NULL; /* the signature's now */
        len = i2d_ECDSA_SIG(signature, &to);
    }
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
    bool good = len > 0 && ctx && EVP_PKEY_verify_init(ctx) == 1 &&
                EVP_PKEY_verify(ctx, der, (size_t)len, digest, curve->digest) == 1;
    EVP_PKEY_CTX_free(ctx);
    ECDSA_SIG_free(signature);
    BN_free(s);
    BN_free(r);
    return good;
}

static bool digest_matches(const uint8_t *data, size_t len, const uint8_t *expected, size_t digest_len)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    const EVP_MD *hash = digest_len == 48 ? EVP_sha384() : EVP_sha256();
    return EVP_Digest(data, len, digest, NULL, hash, NULL) == 1 && memcmp(digest, expected, digest_len) == 0;
}

static const char *verify_rsa(const uint8_t *data, size_t at, const uint8_t *block, size_t *where)
{
    *where = 2;
    if (!filled(block + 2, 2, 0))
        return "reserved bytes of the signature block are not zero";
    *where = DIGEST;
    if (!digest_matches(data, at, block + DIGEST, 32))
        return "the signed digest is not that of the bytes before the signature";
    *where = RSA_MODULUS;
    EVP_PKEY *key = NULL;
    if (block[RSA_MODULUS] & 1 && block[RSA_MODULUS + RSA_BYTES - 1] & 0x80)
        key = rsa_key(block);
    if (!key)
        return "the block's public key is not an RSA-3072 key";
    *where = RSA_SIGNATURE;
    bool good = rsa_verifies(key, block);
    EVP_PKEY_free(key);
    return good ? NULL : "the RSA-PSS signature does not verify";
}

static const char *verify_ecdsa(const uint8_t *data, size_t at, const uint8_t *block, size_t *where)
{
    *where = 2;
    if (block[2] > 1 || block[3] != 0)
        return "unknown hash, or a reserved byte that is not zero, in the signature block";
    size_t digest_len = block[2] == 1 ? 48 : 32;
    *where = DIGEST + digest_len;
    uint8_t id = block[*where];
    if (id < 1 || id > 3 || curves[id - 1].hash != block[2])
        return "unknown curve, or not the curve that goes with the block's hash";
    const struct curve *curve = &curves[id - 1];
    const uint8_t *point = block + *where + 1, *rs = point + curve->field, *end = rs + curve->field;
    size_t used = 2 * curve->bytes;
    *where = (size_t)(end - block);
    if (!filled(end, (size_t)(block + CRC - end), 0) || !filled(point + used, curve->field - used, 0) ||
        !filled(rs + used, curve->field - used, 0))
        return "padding within the signature block is not zero";
    *where = DIGEST;
    if (!digest_matches(data, at, block + DIGEST, digest_len))
        return "the signed digest is not that of the bytes before the signature";
    *where = (size_t)(point - block);
    EVP_PKEY *key = ec_key(curve, point);
    if (!key)
        return "the block's public key is not a point of its curve";
    *where = (size_t)(rs - block);
    bool good = ec_verifies(key, curve, block + DIGEST, rs);
    EVP_PKEY_free(key);
    return good ? NULL : "the ECDSA signature does not verify";
}

static const char *verify_block(const uint8_t *data, size_t at, const uint8_t *block, size_t *where)
{
    *where = 0;
    if (block[0] != MAGIC)
        return "no signature block (magic 0xE7)";
    *where = 1;
    if (block[1] != VERSION_RSA && block[1] != VERSION_ECDSA)
        return "unknown version of the signature block";
    *where = CRC;
    const uint8_t *c = block + CRC;
    uint32_t crc = (uint32_t)c[0] | (uint32_t)c[1] << 8 | (uint32_t)c[2] << 16 | (uint32_t)c[3] << 24;
    if (crc32(0, block, CRC) != crc)
        return "wrong CRC-32 of the signature block";
    *where = CRC + 4;
    if (!filled(block + CRC + 4, BLOCK - CRC - 4, 0))
        return "padding behind the signature block is not zero";
    return (block[1] == VERSION_RSA ? verify_rsa : verify_ecdsa)(data, at, block, where);
}

const char *secure_boot_verify_v2(const uint8_t *data, size_t at, enum secure_boot_kind *kind, size_t *offset)
{
    const uint8_t *sector = data + at;
    size_t used = BLOCK, from = 0, where = 0;
    while (used < BLOCKS * BLOCK && sector[used] != 0xFF)
        used += BLOCK;
    *offset = at + used;
    if (!filled(sector + used, SECURE_BOOT_SECTOR - used, 0xFF))
        return "the rest of the signature sector is not 0xFF";
    const char *why = NULL;
    for (size_t block = 0; block < used && !why; block += BLOCK) {
        from = block;
        why = verify_block(data, at, sector + block, &where);
        if (!why && sector[block + 1] != sector[1]) {
            where = 1;
            why = "RSA and ECDSA blocks in one signature sector";
        }
    }
    ERR_clear_error(); /* TLS on this thread must not find ours */
    *offset = at + from + where;
    *kind = sector[1] == VERSION_RSA ? SECURE_BOOT_V2_RSA : SECURE_BOOT_V2_ECDSA;
    return why;
}

const char *secure_boot_check_v1(const uint8_t block[SECURE_BOOT_V1_SIZE], size_t *offset)
{
    *offset = 0;
    if (!filled(block, 4, 0))
        return "not a version 0 signature block";
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    EC_POINT *point = group ? EC_POINT_new(group) : NULL;
    BIGNUM *r = BN_bin2bn(block + 4, 32, NULL), *s = BN_bin2bn(block + 36, 32, NULL);
    const char *why = "out of memory";
    if (!point || !r || !s)
        goto done;
    const BIGNUM *order = EC_GROUP_get0_order(group);
    *offset = 4;
    why = "r is not that of an ECDSA P-256 signature";
    if (BN_is_zero(r) || BN_cmp(r, order) >= 0 ||
        EC_POINT_set_compressed_coordinates(group, point, r, 0, NULL) != 1)
        goto done;
    *offset = 36;
    why = BN_is_zero(s) || BN_cmp(s, order) >= 0 ? "s is not that of an ECDSA P-256 signature" : NULL;
done:
    ERR_clear_error();
    BN_free(s);
    BN_free(r);
    EC_POINT_free(point);
    EC_GROUP_free(group);
    return why;
}
