package spoor.tools;

import java.io.PrintStream;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.apache.kudu.ColumnSchema;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduException;
import org.apache.kudu.client.KuduSession;
import org.apache.kudu.client.KuduTable;
import org.apache.kudu.client.Operation;
import org.apache.kudu.client.OperationResponse;
import org.apache.kudu.client.PartialRow;
import org.apache.kudu.client.SessionConfiguration.FlushMode;

/**
 * Writes the edge values of every column's type into a table of the shape {@code types}: {@code --table [--first 0]}.
 *
 * <p>Row {@code first + n} has the n-th edge value of each column (the last one again where a type has fewer); then
 * come a row with nothing set, one with every nullable column null, and one that is upserted, updated and deleted.
 */
final class WriteTypes {
  private final KuduTable table;
  private final KuduSession session;

  private WriteTypes(KuduTable table, KuduSession session) {
    this.table = table;
    this.session = session;
  }

  static void run(KuduClient client, Arguments arguments, PrintStream out) throws KuduException {
    KuduSession session = client.newSession();
    session.setFlushMode(FlushMode.AUTO_FLUSH_SYNC);
    KuduTable table = client.openTable(arguments.text("table"));
    WriteTypes writer = new WriteTypes(table, session);
    int rows = writer.write(arguments.number("first", 0));
    session.close();
    out.println("{\"applied\":" + rows + "}");
  }

  private int write(int first) throws KuduException {
    List<ColumnSchema> columns = table.getSchema().getColumns();
    List<List<Setter>> edges = columns.stream().map(WriteTypes::edges).toList();
    int most = edges.stream().mapToInt(List::size).max().orElse(0);
    int applied = 0;
    int id = first;
    for (int n = 0; n < most; n++, id++) {
      applied += apply(withEdges(table.newInsert(), id, edges, n));
    }
    applied += apply(withEdges(table.newInsert(), id++, List.of(), 0)); // nothing but the key: defaults
    Operation nulls = withEdges(table.newInsert(), id++, List.of(), 0);
    for (int i = 0; i < columns.size(); i++) {
      if (columns.get(i).isNullable()) {
        nulls.getRow().setNull(i);
      }
    }
    applied += apply(nulls);
    applied += apply(withEdges(table.newUpsert(), id, edges, 0));
    applied += apply(withEdges(table.newUpdate(), id, edges, 1));
    applied += apply(withEdges(table.newDelete(), id, List.of(), 0));
    return applied;
  }

  private static Operation withEdges(Operation operation, int id, List<List<Setter>> edges, int n) {
    operation.getRow().addInt(0, id);
    for (int i = 1; i < edges.size(); i++) {
      List<Setter> values = edges.get(i);
      values.get(Math.min(n, values.size() - 1)).set(operation.getRow(), i);
    }
    return operation;
  }

  private int apply(Operation operation) throws KuduException {
    OperationResponse response = session.apply(operation);
    if (response.hasRowError()) {
      throw new IllegalStateException(response.getRowError().toString());
    }
    return 1;
  }

  private interface Setter {
    void set(PartialRow row, int index);
  }

  private static List<Setter> edges(ColumnSchema column) {
    List<Setter> out = new ArrayList<>();
    switch (column.getType()) {
      case BOOL -> {
        for (boolean v : new boolean[] {true, false}) out.add((row, i) -> row.addBoolean(i, v));
      }
      case INT8 -> {
        for (byte v : new byte[] {Byte.MIN_VALUE, Byte.MAX_VALUE, 0, -1}) out.add((row, i) -> row.addByte(i, v));
      }
      case INT16 -> {
        for (short v : new short[] {Short.MIN_VALUE, Short.MAX_VALUE, 0, -1}) out.add((row, i) -> row.addShort(i, v));
      }
      case INT32 -> {
        for (int v : new int[] {Integer.MIN_VALUE, Integer.MAX_VALUE, 0, -1}) out.add((row, i) -> row.addInt(i, v));
      }
      case INT64, UNIXTIME_MICROS -> {
        for (long v : new long[] {Long.MIN_VALUE, Long.MAX_VALUE, 0, -1, (1L << 53) + 1}) {
          out.add((row, i) -> row.addLong(i, v));
        }
      }
      case FLOAT -> {
        for (float v : new float[] {
          Float.MIN_VALUE, Float.MAX_VALUE, -Float.MAX_VALUE, 0f, -0f, Float.NaN,
          Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY, 0.1f, 16777216f
        }) {
          out.add((row, i) -> row.addFloat(i, v));
        }
      }
      case DOUBLE -> {
        for (double v : new double[] {
          Double.MIN_VALUE, Double.MAX_VALUE, -Double.MAX_VALUE, 0d, -0d, Double.NaN,
          Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY, 0.1, 1e21, 1e-7
        }) {
          out.add((row, i) -> row.addDouble(i, v));
        }
      }
      case STRING -> {
        for (String v : TEXTS) out.add((row, i) -> row.addString(i, v));
      }
      case VARCHAR -> {
        int length = column.getTypeAttributes().getLength();
        for (String v : TEXTS) {
          String fits = v.codePointCount(0, v.length()) <= length ? v : v.substring(0, v.offsetByCodePoints(0, length));
          out.add((row, i) -> row.addVarchar(i, fits));
        }
      }
      case BINARY -> {
        for (byte[] v : new byte[][] {{}, {0}, {-1, -2, -3, -128, 127}, "text".getBytes(StandardCharsets.UTF_8)}) {
          out.add((row, i) -> row.addBinary(i, v));
        }
      }
      case DATE -> {
        // The ends of what Kudu takes: 0001-01-01 and 9999-12-31.
        for (long days : new long[] {-719_162, 2_932_896, 0, -1}) out.add((row, i) -> row.addDate(i, Cells.dateOf(days)));
      }
      case DECIMAL -> {
        int scale = column.getTypeAttributes().getScale();
        BigInteger most = BigInteger.TEN.pow(column.getTypeAttributes().getPrecision()).subtract(BigInteger.ONE);
        for (BigInteger v : List.of(most, most.negate(), BigInteger.ZERO, BigInteger.ONE, BigInteger.ONE.negate())) {
          out.add((row, i) -> row.addDecimal(i, new BigDecimal(v, scale)));
        }
      }
      default -> throw new IllegalArgumentException("no value of type " + column.getType());
    }
    return out;
  }

  private static final List<String> TEXTS = List.of(
      "", "plain", "\"quoted\" \\ / \b\f\n\r\t", "\0\1\u001f\u007f\u0080\u2028\u2029\ufeff\uffff",
      "éß→中", "𝄞🦌👩‍👩‍👧", "x".repeat(2000));
}
