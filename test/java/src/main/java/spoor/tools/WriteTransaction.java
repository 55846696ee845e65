package spoor.tools;

import java.io.PrintStream;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduException;
import org.apache.kudu.client.KuduSession;
import org.apache.kudu.client.KuduTable;
import org.apache.kudu.client.KuduTransaction;
import org.apache.kudu.client.Operation;
import org.apache.kudu.client.OperationResponse;

/**
 * Inserts rows that have nothing but their key in one multi-row transaction: {@code --table [--first 0] [--rows 3]
 * [--end commit|rollback|open]}: {@code open} leaves it to the server, which gives it up when nobody keeps it alive.
 * Needs {@code --txn_manager_enabled} and {@code --enable_txn_system_client_init}.
 */
final class WriteTransaction {
  private WriteTransaction() {}

  static void run(KuduClient client, Arguments arguments, PrintStream out) throws KuduException {
    KuduTable table = client.openTable(arguments.text("table"));
    int first = arguments.number("first", 0);
    int rows = arguments.number("rows", 3);
    String end = arguments.text("end", "commit");
    KuduTransaction transaction = client.newTransaction();
    KuduSession session = transaction.newKuduSession();
    for (int i = 0; i < rows; i++) {
      Operation insert = table.newInsert();
      Cells.setKey(insert.getRow(), 0, table.getSchema().getColumnByIndex(0), first + i);
      OperationResponse response = session.apply(insert);
      if (response.hasRowError()) {
        throw new IllegalStateException(response.getRowError().toString());
      }
    }
    session.close();
    switch (end) {
      case "commit" -> transaction.commit();
      case "rollback" -> transaction.rollback();
      case "open" -> transaction.close();
      default -> throw new IllegalArgumentException("--end " + end);
    }
    out.println("{\"rows\":" + rows + "}");
  }
}
