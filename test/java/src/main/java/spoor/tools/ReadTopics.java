package spoor.tools;

import java.io.BufferedOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.PartitionInfo;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.InterruptException;
import org.apache.kafka.common.errors.RetriableException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * {@code --brokers --topics --isolation --max-wait-ms}: reads whole topics from their first record, without a group, and
 * writes each record, until it is interrupted. A frame, big-endian: i32 length of the rest, then topic
 * (i32 length, bytes), i32 partition, i64 offset, i64 timestamp, key and value (i32 length or -1, bytes), i32 count of
 * headers, each a name and a value as above. A frame of length 0 says once that all topics are there;
 * one of length -1 that all which was there when it looked is written; one of length -1 - n that it is not, and in n bytes
 * of text why.
 */
final class ReadTopics {
  private static final Duration REFRESH = Duration.ofSeconds(1);

  private ReadTopics() {}

  static void run(Arguments arguments, OutputStream output) throws IOException {
    List<String> topics = List.of(arguments.text("topics").split(","));
    int maxWaitMs = arguments.number("max-wait-ms", 100);
    Properties properties = new Properties();
    properties.put("bootstrap.servers", arguments.text("brokers"));
    properties.put("isolation.level", arguments.text("isolation", "read_committed"));
    properties.put("auto.offset.reset", "earliest");
    properties.put("enable.auto.commit", "false");
    properties.put("allow.auto.create.topics", "false");
    properties.put("fetch.max.wait.ms", String.valueOf(maxWaitMs));
    properties.put("reconnect.backoff.max.ms", "200");
    arguments.refuseUnused();
    try (var consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        var out = new DataOutputStream(new BufferedOutputStream(output, 1 << 18))) {
      Set<TopicPartition> assigned = new HashSet<>();
      boolean ready = false;
      long refreshAt = System.nanoTime();
      while (!Thread.currentThread().isInterrupted()) {
        if (System.nanoTime() - refreshAt >= 0) {
          boolean all = assign(consumer, topics, assigned);
          if (all && !ready) {
            ready = true;
            out.writeInt(0);
            out.flush();
          }
          refreshAt = System.nanoTime() + (ready ? REFRESH.toNanos() : REFRESH.toNanos() / 20);
        }
        if (assigned.isEmpty()) {
          sleep(50);
          continue;
        }
        var records = consumer.poll(Duration.ofMillis(maxWaitMs));
        for (ConsumerRecord<byte[], byte[]> record : records) {
          write(out, record);
        }
        if (records.isEmpty() && ready) {
          String why = whyNotAtEnd(consumer, assigned);
          if (why == null) {
            out.writeInt(-1);
          } else {
            byte[] text = utf8(why);
            out.writeInt(-1 - text.length);
            out.write(text);
          }
        }
        out.flush();
      }
    } catch (InterruptException e) {
      return; // told to end
    }
  }

  /** Null when all that there is now was read; the broker may also not say how much there is. */
  private static String whyNotAtEnd(KafkaConsumer<byte[], byte[]> consumer, Set<TopicPartition> assigned) {
    try {
      for (Map.Entry<TopicPartition, Long> end : consumer.endOffsets(assigned, Duration.ofSeconds(5)).entrySet()) {
        long position = consumer.position(end.getKey(), Duration.ofSeconds(5));
        if (position < end.getValue()) {
          return end.getKey() + " is read up to " + position + " and ends at " + end.getValue();
        }
      }
      return null;
    } catch (RetriableException e) {
      return e.toString();
    }
  }

  /** Adds partitions that appeared, which are then read from their beginning; answers whether every topic is there. */
  private static boolean assign(KafkaConsumer<byte[], byte[]> consumer, List<String> topics, Set<TopicPartition> assigned) {
    Set<TopicPartition> now = new HashSet<>(assigned);
    boolean all = true;
    for (String topic : topics) {
      List<PartitionInfo> partitions = List.of();
      try {
        partitions = consumer.partitionsFor(topic, Duration.ofSeconds(5));
      } catch (RetriableException e) {
        all = false;
        continue;
      }
      if (partitions == null || partitions.isEmpty()) {
        all = false;
        continue;
      }
      for (PartitionInfo partition : partitions) {
        now.add(new TopicPartition(topic, partition.partition()));
      }
    }
    if (now.size() > assigned.size()) {
      consumer.assign(new ArrayList<>(now));
      assigned.addAll(now);
    }
    return all;
  }

  private static void write(DataOutputStream out, ConsumerRecord<byte[], byte[]> record) throws IOException {
    byte[] topic = utf8(record.topic());
    Header[] headers = record.headers().toArray();
    int length = 4 + topic.length + 4 + 8 + 8 + 4 + lengthOf(record.key()) + 4 + lengthOf(record.value()) + 4;
    for (Header header : headers) {
      length += 4 + utf8(header.key()).length + 4 + lengthOf(header.value());
    }
    out.writeInt(length);
    writeBytes(out, topic);
    out.writeInt(record.partition());
    out.writeLong(record.offset());
    out.writeLong(record.timestamp());
    writeBytes(out, record.key());
    writeBytes(out, record.value());
    out.writeInt(headers.length);
    for (Header header : headers) {
      writeBytes(out, utf8(header.key()));
      writeBytes(out, header.value());
    }
  }

  private static void writeBytes(DataOutputStream out, byte[] bytes) throws IOException {
    out.writeInt(bytes == null ? -1 : bytes.length);
    if (bytes != null) {
      out.write(bytes);
    }
  }

  private static int lengthOf(byte[] bytes) {
    return bytes == null ? 0 : bytes.length;
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static void sleep(long millis) {
    try {
      Thread.sleep(millis);
    } catch (InterruptedException e) {
      throw new InterruptException(e);
    }
  }
}
