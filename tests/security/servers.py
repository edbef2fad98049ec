"""Kafka with SASL over TLS and Redis with TLS and users, on certificates made for the occasion.

Each also keeps a plain listener for the test itself; what is tested uses the other one.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.support.servers import KAFKA_SCRIPT, KafkaServer, RedisServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

USER, GATEWAY = "guard", "gateway"
WORKER_RULES = (
    "~sg:* resetchannels &sg:* -@all +@read +@write +@scripting +@transaction +@connection +@pubsub -@dangerous +info"
)
GATEWAY_RULES = "%R~sg:*:limit:* resetchannels -@all +get +mget +ping +hello +auth"


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files of an authority of our own and of one server on loopback."""

    authority: Path
    certificate: Path
    key: Path
    both: Path


def make_certificates(directory: Path) -> Certificates:
    """With openssl: an authority, and a certificate of 127.0.0.1 and localhost."""
    directory.mkdir(parents=True, exist_ok=True)
    names = directory / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    for arguments in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=stream-guard-tests",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=localhost",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out server.pem -extfile names",
    ):
        subprocess.run(["openssl", *arguments.split()], cwd=directory, check=True, capture_output=True)
    both = directory / "both.pem"
    both.write_bytes((directory / "server.key").read_bytes() + (directory / "server.pem").read_bytes())
    return Certificates(directory / "ca.pem", directory / "server.pem", directory / "server.key", both)


class SecureKafka(KafkaServer):
    """SCRAM-SHA-512 and PLAIN over TLS on `secure_port`."""

    def __init__(self, directory: Path, certificates: Certificates, password: str) -> None:
        super().__init__(directory)
        self.secure_port = free_port()
        self._certificates, self._password = certificates, password

    @property
    def secure_bootstrap(self) -> str:
        return f"127.0.0.1:{self.secure_port}"

    def command(self) -> list[str]:
        modules = "org.apache.kafka.common.security"
        plain = f'{modules}.plain.PlainLoginModule required user_{USER}="{self._password}";'
        both = f"PLAINTEXT://127.0.0.1:{self.port},SASL_SSL://127.0.0.1:{self.secure_port}"
        properties = self.directory / "secure.properties"
        self.directory.mkdir(parents=True, exist_ok=True)
        properties.write_text(
            "\n".join(
                (
                    f"listeners={both},CONTROLLER://127.0.0.1:{self._controller_port}",
                    f"advertised.listeners={both}",
                    "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL_SSL:SASL_SSL",
                    "sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN",
                    f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={modules}.scram.ScramLoginModule required;",
                    f"listener.name.sasl_ssl.plain.sasl.jaas.config={plain}",
                    "ssl.keystore.type=PEM",
                    f"ssl.keystore.location={self._certificates.both}",
                    "ssl.truststore.type=PEM",
                    f"ssl.truststore.location={self._certificates.authority}",
                    "",
                )
            )
        )
        scram = f"SCRAM-SHA-512=[name={USER},password={self._password}]"
        ports = [str(self.port), str(self._controller_port)]
        return [str(KAFKA_SCRIPT), str(self.directory / "data"), *ports, str(properties), "--add-scram", scram]


class SecureRedis(RedisServer):
    """TLS on `secure_port`, where the worker and the gateways have users of their own."""

    def __init__(self, directory: Path, certificates: Certificates, password: str) -> None:
        super().__init__(directory)
        self.secure_port = free_port()
        self._certificates, self._password = certificates, password

    @property
    def secure_url(self) -> str:
        return f"rediss://127.0.0.1:{self.secure_port}/0"

    def command(self) -> list[str]:
        certificates = self._certificates
        users = self.directory / "users.acl"
        self.directory.mkdir(parents=True, exist_ok=True)
        users.write_text(
            "user default on nopass ~* &* +@all\n"
            f"user {USER} on >{self._password} {WORKER_RULES}\n"
            f"user {GATEWAY} on >{self._password} {GATEWAY_RULES}\n"
        )
        return [
            *super().command(),
            "--tls-port", str(self.secure_port), "--tls-cert-file", str(certificates.certificate),
            "--tls-key-file", str(certificates.key), "--tls-ca-cert-file", str(certificates.authority),
            "--tls-auth-clients", "no", "--aclfile", str(users),
        ]  # fmt: skip
