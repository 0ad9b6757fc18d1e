"""RabbitMQ over AMQP 0-9-1: one connection that is made again when it is needed, and messages that the broker has confirmed."""
