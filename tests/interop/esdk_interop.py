#!/usr/bin/env python3
"""Sealed objects against the stock AWS Encryption SDK for Python, both ways.

    esdk_interop.py PATH-OF-THE-EXAMPLE-BINARY-esdk PATH-OF-sealtail

For raw RSA and raw AES recipients and every size around the frame edge: what we
seal opens with the SDK, and what it seals opens with us, with the context as it
was. Then the refused set: altered messages of the stock writer must not open
with ours. With the KMS that SEALTAIL_TEST_MOTO_* name (tests/servers/moto.sh): batches
that the program sealed to a KMS key open with the SDK's KMS keyring, and what that
keyring wrote opens with us. Needs the packages of requirements.txt; no network, no AWS
account.
"""

import base64
import glob
import gzip
import hashlib
import json
import logging
import os
import struct
import subprocess
import sys
import tempfile

import aws_encryption_sdk
import boto3
from aws_encryption_sdk import CommitmentPolicy
from aws_encryption_sdk.identifiers import AlgorithmSuite
from aws_cryptographic_material_providers.mpl import AwsCryptographicMaterialProviders
from aws_cryptographic_material_providers.mpl.config import MaterialProvidersConfig
from aws_cryptographic_material_providers.mpl.models import (
    AesWrappingAlg,
    CreateAwsKmsKeyringInput,
    CreateMultiKeyringInput,
    CreateRawAesKeyringInput,
    CreateRawRsaKeyringInput,
    PaddingScheme,
)
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

SIZES = [0, 1, 65535, 65536, 65537, 200000]
SUITE = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
CONTEXT = {
    "audit:v": "1",
    "audit:origin": "wa/test/gateway-7",
    "audit:incarnation": "20261122T095900Z-5f0c2a91",
    "audit:leaf": "7",
    "audit:first": "183220",
    "audit:codec": "gzip",
    "zoë": "ünïcode",
}
BINARY = None
SEALTAIL = None
CHECKS = 0


def main():
    global BINARY, SEALTAIL
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    BINARY, SEALTAIL = map(os.path.abspath, sys.argv[1:])
    logging.disable(logging.CRITICAL)  # the SDK logs each refusal that is asked for below
    with tempfile.TemporaryDirectory() as folder:
        run(folder)
    print(f"esdk interop: {CHECKS} checks passed")


def run(folder):
    mpl = AwsCryptographicMaterialProviders(config=MaterialProvidersConfig())
    private, public, name = rsa_pair(folder)
    aes_file, aes_key = aes_secret(folder)
    # One keyring a kind, made the way an auditor would make it.
    stock_rsa = mpl.create_raw_rsa_keyring(CreateRawRsaKeyringInput(
        key_namespace="sealtail", key_name=name,
        padding_scheme=PaddingScheme.OAEP_SHA256_MGF1,
        public_key=open(public, "rb").read(), private_key=open(private, "rb").read()))
    stock_aes = mpl.create_raw_aes_keyring(CreateRawAesKeyringInput(
        key_namespace="sealtail-aes", key_name="dev", wrapping_key=aes_key,
        wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16))
    stock_both = mpl.create_multi_keyring(CreateMultiKeyringInput(
        generator=stock_aes, child_keyrings=[stock_rsa]))
    kinds = {
        "rsa": (stock_rsa, ["--rsa", public], ["--rsa", private]),
        "aes": (stock_aes, ["--aes", "dev", aes_file], ["--aes", "dev", aes_file]),
    }
    for kind, (keyring, seal_to, open_with) in kinds.items():
        for context in (CONTEXT, {}):
            for size in SIZES:
                both_ways(f"{kind}, {size} bytes, {len(context)} pairs", os.urandom(size),
                          context, keyring, seal_to, open_with)
    several_recipients(stock_rsa, stock_aes, stock_both, kinds)
    for kind, (keyring, seal_to, open_with) in kinds.items():
        for frame_length in (128, 4096, 65536, 131072):
            stock_frames(kind, keyring, open_with, frame_length)
        refused(kind, keyring, open_with)
    final_frames(stock_aes)
    other_formats(stock_aes, kinds["aes"][2])
    strangers(mpl, folder, kinds)
    with_kms(mpl, folder)


def with_kms(mpl, folder):
    """A KMS keyring of the stock SDK, pointed at moto: both ways."""
    endpoint = os.environ.get("SEALTAIL_TEST_MOTO_ENDPOINT")
    if not endpoint:
        print("*** SKIPPED: KMS, because SEALTAIL_TEST_MOTO_ENDPOINT is not set; run\n"
              "*** eval \"$(tests/servers/moto.sh start DIR)\" first", file=sys.stderr)
        return
    arns = [os.environ["SEALTAIL_TEST_MOTO_KEY"], os.environ["SEALTAIL_TEST_MOTO_SECOND"]]
    clients = {arn: boto3.client("kms", region_name=arn.split(":")[3], endpoint_url=endpoint,
                                 aws_access_key_id="test", aws_secret_access_key="test")
               for arn in arns}
    keyrings = {arn: mpl.create_aws_kms_keyring(CreateAwsKmsKeyringInput(
        kms_key_id=arn, kms_client=client)) for arn, client in clients.items()}

    sealed_by_the_program(folder, endpoint, keyrings)

    both = mpl.create_multi_keyring(CreateMultiKeyringInput(
        generator=keyrings[arns[0]], child_keyrings=[keyrings[arns[1]]]))
    for size in SIZES:
        plain = os.urandom(size)
        theirs = stock_encrypt(plain, CONTEXT, both)
        shown = subprocess.run([BINARY, "envelope"], input=theirs, capture_output=True, check=True)
        context = dict(line.split("=", 1) for line in shown.stderr.decode().splitlines())
        check(context == CONTEXT, f"kms, {size} bytes: the envelope shows the context")
        wrapped = [line.split() for line in shown.stdout.decode().splitlines()]
        named = [base64.b64decode(info).decode() for _, info, _ in wrapped]
        check(sorted(named) == sorted(arns) and all(w[0] == "aws-kms" for w in wrapped), f"kms: {wrapped}")
        for arn, (_, _, blob) in zip(named, wrapped):
            key = clients[arn].decrypt(KeyId=arn, CiphertextBlob=base64.b64decode(blob),
                                       EncryptionContext=context)
            path = os.path.join(folder, "data.key")
            with open(path, "w") as file:
                file.write(base64.b64encode(key["Plaintext"]).decode() + "\n")
            check(ours_decrypt(theirs, ["--data-key", path]) == (plain, CONTEXT),
                  f"kms, {size} bytes: ours opens the stock SDK's")
    other = stock_encrypt(b"x", CONTEXT, both)
    expect_refusal(other, ["--data-key", path], "commitment")


def sealed_by_the_program(folder, endpoint, keyrings):
    root = os.path.join(folder, "agent")
    os.makedirs(os.path.join(root, "logs"))
    keys = os.path.join(root, "keys")
    subprocess.run([SEALTAIL, "keygen", keys], capture_output=True, check=True)
    with open(os.path.join(root, "logs", "a.log"), "w") as file:
        file.writelines(f"2026-11-22T10:00:00Z serial {n} a line\n" for n in range(5000))
    access = {"access_key": {"env": "KMS_KEY"}, "secret_key": {"env": "KMS_KEY"}}
    kms = [{"kms": arn, "endpoint": endpoint, "credentials": access} for arn in keyrings]
    config = os.path.join(root, "sealtail.yaml")
    with open(config, "w") as file:
        json.dump({
            "origin": "wa/interop",
            "sources": [{"type": "file", "include": [f"{root}/logs/*"], "format": "text"}],
            "redact": {"token_key": {"file": f"{keys}/token.key"}},
            "journal": {"path": f"{root}/journal", "key": {"file": f"{keys}/journal.key"}},
            "seal": {"signing_key": {"file": f"{keys}/signing.key"},
                     "recipients": [{"rsa": f"{keys}/archive.pub.pem"}, *kms],
                     "batch": {"max_records": 1000}},
            "sinks": [{"name": "archive", "type": "archive", "url": f"file://{root}/archive"}],
        }, file)
    done = subprocess.run([SEALTAIL, "run", "--once", "-c", config], capture_output=True,
                          check=False, env={**os.environ, "KMS_KEY": "test"})
    check(done.returncode == 0, done.stderr.decode())
    opened = subprocess.run(
        [SEALTAIL, "open", f"{root}/archive", "--identity", f"{keys}/archive.pem"],
        capture_output=True, check=True).stdout.splitlines()
    objects = sorted(glob.glob(f"{root}/archive/**/*.esdk", recursive=True))
    check(len(objects) >= 5 and len(opened) >= 5000, f"{len(objects)} {len(opened)}")
    for arn, keyring in keyrings.items():
        lines = []
        for path in objects:
            with open(path, "rb") as file:
                plain, context = stock_decrypt(file.read(), keyring)
            check(path.endswith(context["audit:key"]), f"{path}: {context}")
            lines += gzip.decompress(plain).splitlines()[1:]
        check(lines == opened, f"the stock SDK opens what the program sealed to {arn}")


def both_ways(what, plain, context, keyring, seal_to, open_with):
    sealed = ours("encrypt", *seal_to, *pairs(context), data=plain)
    opened, seen = stock_decrypt(sealed, keyring)
    check(opened == plain, f"{what}: the stock SDK opens ours")
    check(seen == context, f"{what}: the stock SDK sees our context")
    theirs = stock_encrypt(plain, context, keyring)
    opened, seen = ours_decrypt(theirs, open_with)
    check(opened == plain, f"{what}: ours opens the stock SDK's")
    check(seen == context, f"{what}: ours sees the stock context")


def several_recipients(stock_rsa, stock_aes, stock_both, kinds):
    plain = os.urandom(70000)
    sealed = ours("encrypt", *kinds["rsa"][1], *kinds["aes"][1], *pairs(CONTEXT), data=plain)
    for keyring in (stock_rsa, stock_aes, stock_both):
        check(stock_decrypt(sealed, keyring) == (plain, CONTEXT), "each recipient opens ours")
    theirs = stock_encrypt(plain, CONTEXT, stock_both)
    for _, _, open_with in kinds.values():
        check(ours_decrypt(theirs, open_with) == (plain, CONTEXT), "each identity opens theirs")


def stock_frames(kind, keyring, open_with, frame_length):
    """Other frame lengths, and messages that fill their frames exactly."""
    for size in (0, 1, frame_length, 2 * frame_length, 2 * frame_length + 1):
        plain = os.urandom(size)
        theirs = stock_encrypt(plain, CONTEXT, keyring, frame_length)
        check(ours_decrypt(theirs, open_with) == (plain, CONTEXT),
              f"{kind}, {size} bytes in frames of {frame_length}")


def final_frames(keyring):
    """At a multiple of the frame length the stock writer ends with an empty final
    frame, ours with a full one. The format allows both; both_ways opened both."""
    empty = len(stock_encrypt(b"", {}, keyring, 4096))
    two = len(stock_encrypt(bytes(8192), {}, keyring, 4096))
    check(two - empty == 2 * (4 + 12 + 4096 + 16), "the stock final frame is empty")


def refused(kind, keyring, open_with):
    """Altered messages: none may open."""
    plain = os.urandom(3 * 4096 + 100)
    message = stock_encrypt(plain, CONTEXT, keyring, 4096)
    frame, final = 4 + 12 + 4096 + 16, 4 + 4 + 12 + 4 + 100 + 16
    head = len(message) - 3 * frame - final
    header, frames = message[:head], message[head:]
    bodies = [frames[i * frame:(i + 1) * frame] for i in range(3)]
    last = frames[3 * frame:]

    def no(what, altered, why=None):
        result = subprocess.run([BINARY, "decrypt", *open_with], input=altered,
                                capture_output=True, check=False)
        check(result.returncode == 1, f"{kind}: {what} is refused")
        if why:
            check(why in result.stderr.decode(), f"{kind}: {what}: {result.stderr.decode()!r}")

    for at in list(range(head)) + [head, head + 4, head + 16, head + frame - 1, len(message) - 1]:
        if at % 7 and at < head - 60:
            continue
        bit = bytes([message[at] ^ (1 << (at % 8))])
        no(f"a flipped bit in byte {at}", message[:at] + bit + message[at + 1:])
    for n in range(4):
        no(f"truncation behind frame {n}", header + b"".join(bodies[:n]), "truncated")
    no("truncation by a byte", message[:-1], "truncated")
    no("nothing at all", b"", "truncated")
    no("swapped frames", header + bodies[1] + bodies[0] + bodies[2] + last, "frame 1 ")
    no("a repeated frame", header + bodies[0] + bodies[0] + bodies[2] + last, "frame 2 ")
    no("a missing frame", header + bodies[0] + bodies[2] + last, "frame 2 ")
    no("a final frame moved up", header + bodies[0] + last, "frame 2 ")
    renumbered = last[:4] + struct.pack(">I8xI", 2, 2)  # number and IV, as they would be
    no("a final frame renumbered", header + bodies[0] + renumbered + last[20:], "frame 2 ")
    changed = message.replace(b"gateway-7", b"gateway-8")
    check(changed != message, "the context is readable")
    no("a changed context", changed)
    at = head - 16 - 1
    no("a changed commitment", message[:at] + bytes([message[at] ^ 1]) + message[at + 1:],
       "commitment")
    no("a trailing byte", message + b"\0", "behind the final frame")
    no("a second message behind", message + message, "behind the final frame")
    other = stock_encrypt(plain, CONTEXT, keyring, 4096)
    no("frames of another message", header + other[len(other) - len(frames):], "frame 1 ")


def other_formats(keyring, open_with):
    """What the SDK can write and we do not read is named, not misread."""
    client = aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT)
    not_ours = "not an AWS Encryption SDK message"
    for suite in (AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256,
                  AlgorithmSuite.AES_256_GCM_IV12_TAG16):
        message, _ = client.encrypt(source=b"x", keyring=keyring, algorithm=suite)
        expect_refusal(message, open_with, not_ours)  # version 1
    client = aws_encryption_sdk.EncryptionSDKClient()
    message, _ = client.encrypt(source=b"x", keyring=keyring)  # with a signature
    expect_refusal(message, open_with, "0x0578")
    message = stock_encrypt(b"x", {}, keyring, 0)  # unframed
    expect_refusal(message, open_with, not_ours)


def expect_refusal(message, open_with, why):
    result = subprocess.run([BINARY, "decrypt", *open_with], input=message,
                            capture_output=True, check=False)
    check(result.returncode == 1 and why in result.stderr.decode(),
          f"expected {why!r}: {result.stderr!r}")


def strangers(mpl, folder, kinds):
    """Who is no recipient opens nothing, in either direction."""
    stranger = os.path.join(folder, "stranger")
    os.mkdir(stranger)
    aes_file, aes_key = aes_secret(stranger)
    private, _, _ = rsa_pair(stranger)
    keyring = mpl.create_raw_aes_keyring(CreateRawAesKeyringInput(
        key_namespace="sealtail-aes", key_name="dev", wrapping_key=aes_key,
        wrapping_alg=AesWrappingAlg.ALG_AES256_GCM_IV12_TAG16))
    for kind, (stock, seal_to, _) in kinds.items():
        theirs = stock_encrypt(b"not for you", CONTEXT, stock)
        for identity in (["--aes", "dev", aes_file], ["--rsa", private]):
            result = subprocess.run([BINARY, "decrypt", *identity], input=theirs,
                                    capture_output=True, check=False)
            check(result.returncode == 1 and not result.stdout, f"{kind}: a stranger of ours")
        sealed = ours("encrypt", *seal_to, data=b"not for you")
        try:
            stock_decrypt(sealed, keyring)
        except Exception:  # the SDK has no one class for this
            check(True, "")
        else:
            check(False, f"{kind}: a stranger opened ours with the stock SDK")


def stock_client():
    return aws_encryption_sdk.EncryptionSDKClient(
        commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)


def stock_encrypt(plain, context, keyring, frame_length=65536):
    message, _ = stock_client().encrypt(source=plain, keyring=keyring, algorithm=SUITE,
                                        encryption_context=context, frame_length=frame_length)
    return message


def stock_decrypt(message, keyring):
    plain, header = stock_client().decrypt(source=message, keyring=keyring)
    return plain, dict(header.encryption_context)


def ours(*args, data):
    return subprocess.run([BINARY, *args], input=data, capture_output=True, check=True).stdout


def ours_decrypt(message, open_with):
    result = subprocess.run([BINARY, "decrypt", *open_with], input=message,
                            capture_output=True, check=False)
    if result.returncode != 0:
        raise AssertionError(f"ours refused: {result.stderr.decode()}")
    lines = result.stderr.decode().splitlines()
    return result.stdout, dict(line.split("=", 1) for line in lines)


def pairs(context):
    return [arg for k, v in context.items() for arg in ("--context", f"{k}={v}")]


def rsa_pair(folder):
    key = rsa.generate_private_key(public_exponent=65537, key_size=3072)
    private = os.path.join(folder, "archive.pem")
    public = os.path.join(folder, "archive.pub.pem")
    with open(private, "wb") as file:
        file.write(key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8,
                                     ser.NoEncryption()))
    with open(public, "wb") as file:
        file.write(key.public_key().public_bytes(
            ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo))
    der = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    return private, public, hashlib.sha256(der).hexdigest()[:16]


def aes_secret(folder):
    key = os.urandom(32)
    path = os.path.join(folder, "aes.key")
    with open(path, "w") as file:
        file.write(base64.b64encode(key).decode() + "\n")
    return path, key


def check(holds, what):
    global CHECKS
    if not holds:
        raise AssertionError(what)
    CHECKS += 1


if __name__ == "__main__":
    main()
