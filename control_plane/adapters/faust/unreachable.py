"""Why a Kafka was not reached: each server asked once more by hand, because its client only says that it failed.

Opens no topic and reads none.
"""

import asyncio
import ssl

from aiokafka.conn import create_conn
from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaConnectionError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from control_plane.adapters.faust.kafka_address import KafkaAddress
from control_plane.errors import BackboneUnavailable, InvalidSettings, SetpointError, TemporaryError

LOOK_TIMEOUT_S = 3.0

_REFUSED = (AuthenticationFailedError, SaslAuthenticationFailed)


async def why_unreachable(address: KafkaAddress) -> SetpointError:
    """The clearest reason that any server gives."""
    found = [await _looked_at(server, address) for server in address.servers]
    told = sorted(
        (reason for reason in found if reason is not None), key=lambda reason: isinstance(reason, TemporaryError)
    )
    return told[0] if told else unreachable(address)


def unreachable(address: KafkaAddress) -> BackboneUnavailable:
    """Nobody answers."""
    return BackboneUnavailable(
        f"no Kafka answers at {', '.join(address.servers)}. Nothing was started. Start it (`make services`), or "
        "correct `backbone`."
    )


async def _looked_at(server: str, address: KafkaAddress) -> SetpointError | None:
    host, _, port = server.rpartition(":")
    security = address.security
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            connection = await create_conn(
                host.strip("[]"), int(port), request_timeout_ms=int(LOOK_TIMEOUT_S * 1000), **address.security_options
            )
        connection.close()
    except ssl.SSLCertVerificationError as error:
        return _wrong(
            f"the certificate of Kafka at {server} cannot be trusted ({error.verify_message})",
            f"Set kafka.ca_file to the certificates of those who signed it ({_named(address)} now), and reach it "
            "under a name that it is made out to.",
        )
    except (ssl.SSLEOFError, ConnectionResetError, KafkaConnectionError):
        return await _hung_up(server, address)
    except ssl.SSLError as error:
        return _wrong(
            f"Kafka at {server} and this process found no way to encrypt ({error.reason or error})",
            "Is that a listener with TLS? Correct kafka.security_protocol or the port, or set kafka.cert_file where it "
            "asks its clients for a certificate.",
        )
    except _REFUSED:
        return _wrong(
            f"Kafka at {server} refused the user {security.username!r}",
            f"Correct kafka.username, or the password in {security.password_variable}.",
        )
    except (UnsupportedSaslMechanismError, IllegalSaslStateError):
        return _wrong(
            f"Kafka at {server} does not let users in by {security.protocol} with {security.mechanism}",
            "Correct kafka.security_protocol and kafka.sasl_mechanism to what its listener speaks.",
        )
    except (KafkaError, OSError, TimeoutError):
        return None
    return None


async def _hung_up(server: str, address: KafkaAddress) -> BackboneUnavailable | None:
    """A listener that is there and hangs up on us is going away, or wants to be spoken to otherwise."""
    host, _, port = server.rpartition(":")
    try:
        async with asyncio.timeout(LOOK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()
    except (OSError, TimeoutError):
        return None
    return BackboneUnavailable(
        f"something listens at {server} and hangs up when it is spoken to as a Kafka by {address.security.protocol}. "
        "Nothing was started. Correct kafka.security_protocol, or the port in `backbone`; a broker that is just "
        "starting or stopping does so too."
    )


def _wrong(what: str, cure: str) -> InvalidSettings:
    return InvalidSettings(f"{what}. Nothing was started. {cure}")


def _named(address: KafkaAddress) -> str:
    return str(address.security.ca_file or "none")
