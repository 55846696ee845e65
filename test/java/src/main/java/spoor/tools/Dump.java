package spoor.tools;

import java.io.PrintStream;
import java.util.List;
import org.apache.kudu.ColumnSchema;
import org.apache.kudu.client.AsyncKuduScanner.ReadMode;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduException;
import org.apache.kudu.client.KuduScanner;
import org.apache.kudu.client.KuduTable;
import org.apache.kudu.client.RowResult;
import org.apache.kudu.client.RowResultIterator;

/**
 * Prints a table's rows, a JSON object each, values as Spoor's records have them: {@code --table [--snapshot <hybrid
 * time>]}. Without a snapshot: as of now, all that was written before included.
 */
final class Dump {
  private Dump() {}

  static void run(KuduClient client, Arguments arguments, PrintStream out) throws KuduException {
    KuduTable table = client.openTable(arguments.text("table"));
    List<ColumnSchema> columns = table.getSchema().getColumns();
    var builder = client.newScannerBuilder(table).readMode(ReadMode.READ_AT_SNAPSHOT);
    long snapshot = arguments.longNumber("snapshot", 0);
    if (snapshot != 0) {
      builder.snapshotTimestampRaw(snapshot);
    }
    KuduScanner scanner = builder.build();
    try {
      while (scanner.hasMoreRows()) {
        RowResultIterator batch = scanner.nextRows();
        for (RowResult row : batch) {
          out.append('{');
          for (int i = 0; i < columns.size(); i++) {
            out.append(i == 0 ? "" : ",").append(Json.quote(columns.get(i).getName())).append(':');
            out.append(Cells.toJson(row, i, columns.get(i)));
          }
          out.append("}\n");
        }
      }
    } finally {
      scanner.close();
    }
  }
}
