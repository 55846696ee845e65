package spoor.tools;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.sql.Date;
import java.time.LocalDate;
import java.util.Base64;
import java.util.Random;
import org.apache.kudu.ColumnSchema;
import org.apache.kudu.client.PartialRow;
import org.apache.kudu.client.RowResult;

/** Values of every column type: made from a number, and printed as Spoor prints them. */
final class Cells {
  private Cells() {}

  /** Sets a key column to the value that stands for {@code key}; different keys give different values (8-bit: of 256). */
  static void setKey(PartialRow row, int index, ColumnSchema column, long key) {
    switch (column.getType()) {
      case INT8 -> row.addByte(index, (byte) key);
      case INT16 -> row.addShort(index, (short) key);
      case INT32 -> row.addInt(index, (int) key);
      case INT64, UNIXTIME_MICROS -> row.addLong(index, key);
      case STRING -> row.addString(index, "key " + key);
      case VARCHAR -> row.addVarchar(index, Long.toString(key, 36));
      case BINARY -> row.addBinary(index, ("key\0" + key).getBytes(StandardCharsets.UTF_8));
      case DATE -> row.addDate(index, dateOf(key));
      case DECIMAL -> row.addDecimal(index, BigDecimal.valueOf(key, column.getTypeAttributes().getScale()));
      default -> throw new IllegalArgumentException("no key of type " + column.getType());
    }
  }

  /** @param characters what its text is made of, if it is text */
  static void setRandom(PartialRow row, int index, ColumnSchema column, Random random, String[] characters) {
    if (column.isNullable() && random.nextInt(8) == 0) {
      row.setNull(index);
      return;
    }
    switch (column.getType()) {
      case BOOL -> row.addBoolean(index, random.nextBoolean());
      case INT8 -> row.addByte(index, (byte) random.nextInt());
      case INT16 -> row.addShort(index, (short) random.nextInt());
      case INT32 -> row.addInt(index, random.nextInt());
      case INT64 -> row.addLong(index, random.nextLong());
      case UNIXTIME_MICROS -> row.addLong(index, random.nextLong() / 1000);
      case FLOAT -> row.addFloat(index, Float.intBitsToFloat(random.nextInt()));
      case DOUBLE -> row.addDouble(index, Double.longBitsToDouble(random.nextLong()));
      case STRING -> row.addString(index, text(random, 40, characters));
      case VARCHAR -> row.addVarchar(index, text(random, column.getTypeAttributes().getLength(), characters));
      case BINARY -> {
        byte[] bytes = new byte[random.nextInt(40)];
        random.nextBytes(bytes);
        row.addBinary(index, bytes);
      }
      case DATE -> row.addDate(index, dateOf(random.nextInt(100_000)));
      case DECIMAL -> {
        int precision = column.getTypeAttributes().getPrecision();
        BigInteger limit = BigInteger.TEN.pow(precision);
        BigInteger digits = new BigInteger(limit.bitLength(), random).mod(limit);
        BigInteger signed = random.nextBoolean() ? digits : digits.negate();
        row.addDecimal(index, new BigDecimal(signed, column.getTypeAttributes().getScale()));
      }
      default -> throw new IllegalArgumentException("no value of type " + column.getType());
    }
  }

  static String toJson(RowResult row, int index, ColumnSchema column) {
    if (row.isNull(index)) {
      return "null";
    }
    return switch (column.getType()) {
      case BOOL -> Boolean.toString(row.getBoolean(index));
      case INT8 -> Byte.toString(row.getByte(index));
      case INT16 -> Short.toString(row.getShort(index));
      case INT32, DATE -> Integer.toString(row.getInt(index)); // a date is its days since 1970
      case INT64, UNIXTIME_MICROS -> Long.toString(row.getLong(index));
      case FLOAT -> Json.number(row.getFloat(index));
      case DOUBLE -> Json.number(row.getDouble(index));
      case STRING -> Json.quote(row.getString(index));
      case VARCHAR -> Json.quote(row.getVarchar(index));
      case BINARY -> Json.quote(Base64.getEncoder().encodeToString(row.getBinaryCopy(index)));
      case DECIMAL -> Json.quote(row.getDecimal(index).toPlainString());
      default -> throw new IllegalArgumentException("no value of type " + column.getType());
    };
  }

  /** {@link Date} is a day of the local time zone; the client turns it back into the same day. */
  static Date dateOf(long daysSince1970) {
    return Date.valueOf(LocalDate.ofEpochDay(daysSince1970));
  }

  static final String[] CHARACTERS = {"a", "Z", "0", " ", "\"", "\\", "\n", "\t", "\0", "/", "é", "ß", "→", "中", "𝄞", "🦌"};

  private static String text(Random random, int maxCharacters, String[] characters) {
    StringBuilder out = new StringBuilder();
    for (int left = random.nextInt(maxCharacters + 1); left > 0; left--) {
      out.append(characters[random.nextInt(characters.length)]);
    }
    return out.toString();
  }
}
