"""Leaves a Kafka that others use as it was."""

from aiokafka.admin import AIOKafkaAdminClient

from control_plane.adapters.faust.kafka_address import KafkaAddress


async def leave_kafka_as_it_was(url: str) -> None:
    """Delete the topics of one log, named by its prefix."""
    address = KafkaAddress.parse(url)
    assert address.prefix, "without a prefix every topic would go"
    admin = AIOKafkaAdminClient(bootstrap_servers=list(address.servers))
    await admin.start()
    try:
        mine = [topic for topic in await admin.list_topics() if topic.startswith(address.prefix)]
        await admin.delete_topics(mine)
    finally:
        await admin.close()
