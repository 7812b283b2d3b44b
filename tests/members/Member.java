import java.io.FileWriter;
import java.io.PrintWriter;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.StringDeserializer;

/** The consumer of Apache Kafka itself. Arguments: bootstrap, group, topic, client id, protocol, log. Where a group begins: AUTO_OFFSET_RESET. */
class Member {
  public static void main(String[] words) throws Exception {
    AtomicBoolean closed = new AtomicBoolean();
    Thread ending = new Thread(() -> {
      try {
        while (System.in.read() >= 0) {}
      } catch (java.io.IOException gone) {
        // The owner is gone: end.
      }
      closed.set(true);
    });
    ending.setDaemon(true);
    ending.start();
    Map<String, Object> settings = Map.of(
        "bootstrap.servers", words[0], "group.id", words[1], "client.id", words[3], "group.protocol", words[4],
        "auto.offset.reset", System.getenv().getOrDefault("AUTO_OFFSET_RESET", "latest"),
        "key.deserializer", StringDeserializer.class, "value.deserializer", StringDeserializer.class);
    try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(settings);
        PrintWriter out = new PrintWriter(new FileWriter(words[5], true), true)) {
      consumer.subscribe(List.of(words[2]));
      while (!closed.get()) {
        for (ConsumerRecord<String, String> each : consumer.poll(Duration.ofMillis(50))) {
          out.printf("%s %d %d %s %s %d%n", each.topic(), each.partition(), each.offset(), each.key(), each.value(), System.currentTimeMillis());
        }
      }
    }
  }
}
