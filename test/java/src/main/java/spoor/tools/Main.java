package spoor.tools;

import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.DataOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.kudu.client.KuduClient;

/**
 * Runs tools, any number at a time, until standard input ends: starting a JVM for each would take longer than they do.
 *
 * <p>A line of standard input, its parts separated by tabs, is a call, {@code <id> <tool> --name value ...}, or the end of
 * one, {@code <id>}. Standard output has frames, big-endian: i32 id, i8 kind, i32 length, bytes. Kind 0: output of that
 * call; 1: it is done; 2: it failed, and why.
 */
public final class Main {
  private static final int OUTPUT = 0;
  private static final int DONE = 1;
  private static final int FAILED = 2;
  private static final int CHUNK_BYTES = 1 << 16;

  private final DataOutputStream frames = new DataOutputStream(new FileOutputStream(FileDescriptor.out));
  private final Map<Integer, Thread> calls = new ConcurrentHashMap<>();

  private Main() {}

  public static void main(String[] argv) throws IOException {
    Main main = new Main();
    System.setOut(System.err); // what a library prints is no frame
    var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = lines.readLine(); line != null; line = lines.readLine()) {
      main.take(line.split("\t", -1));
    }
    System.exit(0); // whatever still runs
  }

  private void take(String[] parts) {
    int id = Integer.parseInt(parts[0]);
    if (parts.length == 1) {
      Thread call = calls.get(id);
      if (call != null) {
        call.interrupt();
      }
      return;
    }
    Thread call = new Thread(() -> answer(id, parts[1], Arrays.copyOfRange(parts, 2, parts.length)), "call " + id);
    calls.put(id, call);
    call.start();
  }

  private void answer(int id, String tool, String[] argv) {
    try {
      try (OutputStream out = new BufferedOutputStream(new Output(id), CHUNK_BYTES)) {
        run(tool, new Arguments(argv), out);
      }
      send(id, DONE, new byte[0], 0, 0);
    } catch (Throwable e) {
      var trace = new StringWriter();
      e.printStackTrace(new PrintWriter(trace));
      byte[] why = trace.toString().getBytes(StandardCharsets.UTF_8);
      send(id, FAILED, why, 0, why.length);
    } finally {
      calls.remove(id);
    }
  }

  private static void run(String tool, Arguments arguments, OutputStream out) throws Exception {
    if (tool.equals("read-topics")) {
      ReadTopics.run(arguments, out);
      return;
    }
    try (KuduClient client = new KuduClient.KuduClientBuilder(arguments.text("masters")).build();
        PrintStream text = new PrintStream(out, false, StandardCharsets.UTF_8)) {
      switch (tool) {
        case "create-table" -> CreateTable.run(client, arguments, text);
        case "write-mixed" -> WriteMixed.run(client, arguments, text);
        case "write-types" -> WriteTypes.run(client, arguments, text);
        case "write-transaction" -> WriteTransaction.run(client, arguments, text);
        case "dump" -> Dump.run(client, arguments, text);
        default -> throw new IllegalArgumentException("no such tool: " + tool);
      }
      arguments.refuseUnused();
    }
  }

  private void send(int id, int kind, byte[] bytes, int from, int length) {
    synchronized (frames) {
      try {
        byte[] head = {
          (byte) (id >> 24), (byte) (id >> 16), (byte) (id >> 8), (byte) id, (byte) kind,
          (byte) (length >> 24), (byte) (length >> 16), (byte) (length >> 8), (byte) length
        };
        frames.write(head);
        frames.write(bytes, from, length);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** What a call prints. */
  private final class Output extends OutputStream {
    private final int id;

    Output(int id) {
      this.id = id;
    }

    @Override
    public void write(int b) {
      write(new byte[] {(byte) b}, 0, 1);
    }

    @Override
    public void write(byte[] bytes, int from, int length) {
      send(id, OUTPUT, bytes, from, length);
    }
  }
}
