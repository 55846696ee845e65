package spoor.tools;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import org.apache.kudu.ColumnSchema;
import org.apache.kudu.ColumnSchema.ColumnSchemaBuilder;
import org.apache.kudu.ColumnTypeAttributes;
import org.apache.kudu.Schema;
import org.apache.kudu.Type;
import org.apache.kudu.client.CreateTableOptions;
import org.apache.kudu.client.KuduClient;
import org.apache.kudu.client.KuduException;

/**
 * Makes a table: {@code --table --shape small|types|keys [--buckets 4] [--replicas 3]}.
 *
 * <ul>
 *   <li>{@code small}: {@code id} int64, and an int32, a string, a decimal, one immutable and one defaulted column;
 *   <li>{@code types}: {@code id} int32, and one column of every type, nullable, and each again with a default;
 *   <li>{@code keys}: a compound key of every type that may be one.
 * </ul>
 */
final class CreateTable {
  private CreateTable() {}

  static void run(KuduClient client, Arguments arguments, PrintStream out) throws KuduException {
    Schema schema = schema(arguments.text("shape"));
    int buckets = arguments.number("buckets", 4);
    String firstKey = schema.getPrimaryKeyColumns().get(0).getName();
    CreateTableOptions options = new CreateTableOptions().setNumReplicas(arguments.number("replicas", 3));
    if (buckets > 1) {
      options.addHashPartitions(List.of(firstKey), buckets);
    } else {
      options.setRangePartitionColumns(List.of(firstKey));
    }
    String table = arguments.text("table");
    client.createTable(table, schema, options);
    out.println("{\"table\":" + Json.quote(table) + ",\"id\":" + Json.quote(client.openTable(table).getTableId()) + "}");
  }

  private static Schema schema(String shape) {
    return switch (shape) {
      case "small" -> new Schema(List.of(
          new ColumnSchemaBuilder("id", Type.INT64).key(true).build(),
          new ColumnSchemaBuilder("amount", Type.INT32).nullable(true).build(),
          new ColumnSchemaBuilder("note", Type.STRING).nullable(true).build(),
          decimal("price", 12, 2).nullable(true).build(),
          new ColumnSchemaBuilder("origin", Type.STRING).nullable(true).immutable(true).build(),
          new ColumnSchemaBuilder("state", Type.INT8).defaultValue((byte) 7).build()));
      case "types" -> {
        List<ColumnSchema> columns = new ArrayList<>();
        columns.add(new ColumnSchemaBuilder("id", Type.INT32).key(true).build());
        for (Object[] named : EVERY_TYPE) {
          columns.add(builder((String) named[0], (Type) named[1]).nullable(true).build());
        }
        for (Object[] named : EVERY_TYPE) {
          columns.add(builder(named[0] + "_set", (Type) named[1]).defaultValue(named[2]).build());
        }
        yield new Schema(columns);
      }
      case "keys" -> {
        List<ColumnSchema> columns = new ArrayList<>();
        for (Object[] named : EVERY_TYPE) {
          Type type = (Type) named[1];
          if (type != Type.BOOL && type != Type.FLOAT && type != Type.DOUBLE) {
            columns.add(builder((String) named[0], type).key(true).build());
          }
        }
        columns.add(new ColumnSchemaBuilder("value", Type.INT32).nullable(true).build());
        yield new Schema(columns);
      }
      default -> throw new IllegalArgumentException("no such shape: " + shape);
    };
  }

  /** Name, type, default. The decimals' sizes follow from the names. */
  private static final Object[][] EVERY_TYPE = {
    {"bool", Type.BOOL, true},
    {"int8", Type.INT8, (byte) -8},
    {"int16", Type.INT16, (short) -16},
    {"int32", Type.INT32, -32},
    {"int64", Type.INT64, Long.MIN_VALUE},
    {"float", Type.FLOAT, 1.1f},
    {"double", Type.DOUBLE, -0.0},
    {"string", Type.STRING, "größer\n\"𝄞\""},
    {"varchar", Type.VARCHAR, "中文"},
    {"binary", Type.BINARY, new byte[] {0, -1, 127}},
    {"time", Type.UNIXTIME_MICROS, -1L},
    {"date", Type.DATE, Cells.dateOf(-1)},
    {"decimal_9_2", Type.DECIMAL, new java.math.BigDecimal("-1.05")},
    {"decimal_18_18", Type.DECIMAL, new java.math.BigDecimal("0.000000000000000001")},
    {"decimal_38_10", Type.DECIMAL, new java.math.BigDecimal("-9999999999999999999999999999.9999999999")},
  };

  private static ColumnSchemaBuilder builder(String name, Type type) {
    if (type == Type.VARCHAR) {
      var length = new ColumnTypeAttributes.ColumnTypeAttributesBuilder().length(20).build();
      return new ColumnSchemaBuilder(name, type).typeAttributes(length);
    }
    if (type == Type.DECIMAL) {
      String[] sizes = name.split("_");
      return decimal(name, Integer.parseInt(sizes[1]), Integer.parseInt(sizes[2]));
    }
    return new ColumnSchemaBuilder(name, type);
  }

  private static ColumnSchemaBuilder decimal(String name, int precision, int scale) {
    var size = new ColumnTypeAttributes.ColumnTypeAttributesBuilder().precision(precision).scale(scale).build();
    return new ColumnSchemaBuilder(name, Type.DECIMAL).typeAttributes(size);
  }
}
