import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Runs the statements of a file, each ended by a semicolon at the end of a line, in this process. Of what a query answers it
 * prints a line each: the kind of the change ({@code +I -U +U -D}), and the row's values behind tabs. Its last
 * argument is the file. test/support/consumers/flink.ts starts it, with Flink's jars on the class path.
 */
public final class FlinkSql {
  private FlinkSql() {}

  public static void main(String[] argv) throws Exception {
    Configuration configuration = new Configuration();
    configuration.setString("execution.target", "local");
    configuration.setString("parallelism.default", "1");
    var settings = EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(configuration).build();
    TableEnvironment environment = TableEnvironment.create(settings);
    for (String statement : Files.readString(Path.of(argv[0])).split(";\\s*(\n|$)")) {
      if (statement.isBlank()) {
        continue;
      }
      var result = environment.executeSql(statement);
      if (!statement.stripLeading().toUpperCase().startsWith("SELECT")) {
        continue;
      }
      try (CloseableIterator<Row> rows = result.collect()) {
        while (rows.hasNext()) {
          Row row = rows.next();
          StringBuilder line = new StringBuilder(row.getKind().shortString());
          for (int i = 0; i < row.getArity(); i++) {
            line.append('\t').append(row.getField(i));
          }
          System.out.println(line);
        }
      }
    }
  }
}
