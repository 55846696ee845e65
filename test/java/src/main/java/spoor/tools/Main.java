package spoor.tools;

import java.io.BufferedOutputStream;
import java.io.FileOutputStream;
import java.io.FileDescriptor;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kudu.client.KuduClient;

/** {@code <tool> --name value ...}; every tool needs {@code --masters} and prints JSON lines. */
public final class Main {
  private Main() {}

  public static void main(String[] argv) throws Exception {
    if (argv.length == 0) {
      throw new IllegalArgumentException("usage: create-table | write-mixed | write-types | write-transaction | dump, then --name value");
    }
    Arguments arguments = new Arguments(Arrays.copyOfRange(argv, 1, argv.length));
    try (KuduClient client = new KuduClient.KuduClientBuilder(arguments.text("masters")).build();
        PrintStream out = openOutput()) {
      switch (argv[0]) {
        case "create-table" -> CreateTable.run(client, arguments, out);
        case "write-mixed" -> WriteMixed.run(client, arguments, out);
        case "write-types" -> WriteTypes.run(client, arguments, out);
        case "write-transaction" -> WriteTransaction.run(client, arguments, out);
        case "dump" -> Dump.run(client, arguments, out);
        default -> throw new IllegalArgumentException("no such tool: " + argv[0]);
      }
      arguments.refuseUnused();
    }
  }

  private static PrintStream openOutput() {
    var buffered = new BufferedOutputStream(new FileOutputStream(FileDescriptor.out), 1 << 16);
    return new PrintStream(buffered, false, StandardCharsets.UTF_8);
  }
}
