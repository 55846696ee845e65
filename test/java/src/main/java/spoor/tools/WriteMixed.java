package spoor.tools;

import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.apache.kudu.ColumnSchema;
import org.apache.kudu.client.ExternalConsistencyMode;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduException;
import org.apache.kudu.client.KuduSession;
import org.apache.kudu.client.KuduTable;
import org.apache.kudu.client.Operation;
import org.apache.kudu.client.OperationResponse;
import org.apache.kudu.client.SessionConfiguration.FlushMode;

/**
 * Random operations of all eight kinds on a small key space, so that many are rejected or ignored.
 *
 * <p>{@code --table --ops N [--fill 0] [--keys 1000] [--threads 4] [--flush 100] [--seed 1] [--rate 0] [--stop-file path]
 * [--commit-wait-every 0] [--without-nul 0]}. Works on any table. Before the random operations, and besides them, so many
 * of the first keys as {@code fill} says are inserted, one row each. Rate is operations a second over all threads, 0 for as
 * fast as it goes. Ends early, in order, when the stop file appears. Before every so manieth flush of a thread comes one
 * operation with COMMIT_WAIT, which the server stamps ahead of its clock and answers when that time has passed; 0 for none.
 * (A flush of several is never sent so: the client leaves the mode of a session out of its batches.) Without NUL: text has
 * no U+0000, which PostgreSQL cannot hold. Prints how many operations took effect, were ignored and were rejected: applied
 * is the number of records that Spoor owes. (An upsert of nothing but the key is left out: Kudu counts it as applied
 * although it changes nothing.)
 */
final class WriteMixed {
  private final KuduClient client;
  private final KuduTable table;
  private final int keys;
  private final int flush;
  private final double nanosPerFlush;
  private final Path stopFile;
  private final int commitWaitEvery;
  private final String[] characters;

  private WriteMixed(
      KuduClient client,
      KuduTable table,
      int keys,
      int flush,
      double nanosPerFlush,
      Path stopFile,
      int commitWaitEvery,
      boolean withoutNul) {
    this.client = client;
    this.table = table;
    this.keys = keys;
    this.flush = flush;
    this.nanosPerFlush = nanosPerFlush;
    this.stopFile = stopFile;
    this.commitWaitEvery = commitWaitEvery;
    this.characters = withoutNul
        ? Arrays.stream(Cells.CHARACTERS).filter(character -> !character.equals("\0")).toArray(String[]::new)
        : Cells.CHARACTERS;
  }

  static void run(KuduClient client, Arguments arguments, PrintStream out) throws Exception {
    int threads = arguments.number("threads", 4);
    int flush = arguments.number("flush", 100);
    int rate = arguments.number("rate", 0);
    long ops = arguments.longNumber("ops", 0);
    long seed = arguments.longNumber("seed", 1);
    WriteMixed writer = new WriteMixed(
        client,
        client.openTable(arguments.text("table")),
        arguments.number("keys", 1000),
        flush,
        rate == 0 ? 0 : 1e9 * flush * threads / rate,
        Path.of(arguments.text("stop-file", "/nonexistent/stop")),
        arguments.number("commit-wait-every", 0),
        arguments.number("without-nul", 0) != 0);

    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      List<Callable<Counts>> shares = new ArrayList<>();
      List<Callable<Counts>> fills = new ArrayList<>();
      long fill = arguments.longNumber("fill", 0);
      for (int thread = 0; thread < threads; thread++) {
        long share = ops / threads + (thread < ops % threads ? 1 : 0);
        Random random = new Random(seed * 1_000_003 + thread);
        shares.add(() -> writer.write(share, random));
        long from = fill * thread / threads;
        long to = fill * (thread + 1) / threads;
        fills.add(() -> writer.fill(from, to, random));
      }
      Counts all = new Counts();
      for (Future<Counts> share : pool.invokeAll(fills)) {
        all.add(share.get());
      }
      for (Future<Counts> share : pool.invokeAll(shares)) {
        all.add(share.get());
      }
      out.println(all.toJson());
    } finally {
      pool.shutdownNow();
    }
  }

  /** Inserts the keys of a range, one row each. */
  private Counts fill(long from, long to, Random random) throws Exception {
    Counts counts = new Counts();
    KuduSession session = newSession();
    for (long key = from; key < to; ) {
      for (int i = 0; i < flush && key < to; i++) {
        session.apply(operation(random, 0, key++));
      }
      flush(session, counts);
    }
    counts.metrics(session.getWriteOpMetrics().get());
    session.close();
    return counts;
  }

  private KuduSession newSession() {
    KuduSession session = client.newSession();
    session.setFlushMode(FlushMode.MANUAL_FLUSH);
    session.setMutationBufferSpace(flush, 64 << 20);
    session.setTimeoutMillis(120_000); // servers are killed under this load
    return session;
  }

  private Counts write(long ops, Random random) throws Exception {
    Counts counts = new Counts();
    KuduSession session = newSession();
    KuduSession waiting = client.newSession();
    waiting.setFlushMode(FlushMode.AUTO_FLUSH_SYNC);
    waiting.setExternalConsistencyMode(ExternalConsistencyMode.COMMIT_WAIT);
    waiting.setTimeoutMillis(120_000);
    long started = System.nanoTime();
    long flushes = 0;
    for (long done = 0; done < ops && !Files.exists(stopFile); ) {
      if (commitWaitEvery > 0 && flushes % commitWaitEvery == 0) {
        // None that may be ignored: of one that was not rejected it is known then that it took effect.
        if (count(waiting.apply(next(random, 2 * random.nextInt(4))), counts)) {
          counts.applied++;
        }
        done++;
      }
      for (int i = 0; i < flush && done < ops; i++, done++) {
        session.apply(next(random, random.nextInt(8)));
      }
      flush(session, counts);
      long due = started + (long) (++flushes * nanosPerFlush) - System.nanoTime();
      if (due > 0) {
        Thread.sleep(due / 1_000_000, (int) (due % 1_000_000));
      }
    }
    counts.metrics(session.getWriteOpMetrics().get());
    session.close();
    waiting.close();
    return counts;
  }

  private static void flush(KuduSession session, Counts counts) throws KuduException {
    for (OperationResponse response : session.flush()) {
      count(response, counts);
    }
  }

  /** Answers whether it was not rejected. */
  private static boolean count(OperationResponse response, Counts counts) {
    counts.rows++;
    if (!response.hasRowError()) {
      return true;
    }
    String status = response.getRowError().getErrorStatus().toString();
    counts.rejected.merge(status.substring(0, status.indexOf(':')), 1L, Long::sum);
    return false;
  }

  private Operation next(Random random, int kind) {
    return operation(random, kind, random.nextInt(keys));
  }

  private Operation operation(Random random, int kind, long key) {
    Operation operation = switch (kind) {
      case 0 -> table.newInsert();
      case 1 -> table.newInsertIgnore();
      case 2 -> table.newUpsert();
      case 3 -> table.newUpsertIgnore();
      case 4 -> table.newUpdate();
      case 5 -> table.newUpdateIgnore();
      case 6 -> table.newDelete();
      default -> table.newDeleteIgnore();
    };
    boolean insert = kind < 2;
    boolean delete = kind >= 6;
    List<ColumnSchema> columns = table.getSchema().getColumns();
    boolean changes = false;
    int lastMutable = -1;
    for (int i = 0; i < columns.size(); i++) {
      ColumnSchema column = columns.get(i);
      if (column.isKey()) {
        Cells.setKey(operation.getRow(), i, column, key);
      } else if (!delete) {
        if (!column.isImmutable()) {
          lastMutable = i;
        }
        boolean required = kind < 4 && !column.isNullable() && column.getDefaultValue() == null;
        // Seldom an immutable one: it makes an update or upsert of a row that is there fail.
        boolean chosen = column.isImmutable() && !insert ? random.nextInt(5) == 0 : random.nextInt(3) > 0;
        if (required || chosen) {
          Cells.setRandom(operation.getRow(), i, column, random, characters);
          changes |= !column.isImmutable();
        }
      }
    }
    if (!delete && !insert && !changes) {
      Cells.setRandom(operation.getRow(), lastMutable, columns.get(lastMutable), random, characters);
    }
    return operation;
  }

  private static final class Counts {
    long rows;
    long applied;
    final Map<String, Long> rejected = new TreeMap<>();

    void metrics(Map<String, Long> metrics) {
      metrics.forEach((name, count) -> {
        if (name.startsWith("successful_")) {
          applied += count;
        }
      });
    }

    void add(Counts other) {
      rows += other.rows;
      applied += other.applied;
      other.rejected.forEach((code, count) -> rejected.merge(code, count, Long::sum));
    }

    String toJson() {
      StringBuilder codes = new StringBuilder();
      rejected.forEach((code, count) ->
          codes.append(codes.length() == 0 ? "" : ",").append(Json.quote(code)).append(':').append(count));
      long errors = rejected.values().stream().mapToLong(Long::longValue).sum();
      // Not Kudu's own *_ignore_errors: those also count rows of which only an immutable column was ignored.
      long ignored = rows - applied - errors;
      return String.format(
          "{\"rows\":%d,\"applied\":%d,\"ignored\":%d,\"rejected\":%d,\"rejectedBy\":{%s}}",
          rows, applied, ignored, errors, codes);
    }
  }
}
