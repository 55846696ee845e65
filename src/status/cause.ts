/**
 * What two messages about tablets of one cause have in common: names of tables and tablets, positions and other figures
 * are left out, so that a thousand tablets without a broker have one cause.
 */
export function causeOf(
  message: string,
  { table, tabletId }: { readonly table: string; readonly tabletId: string },
): string {
  return message
    .replaceAll(tabletId, '·')
    .replaceAll(table, '·')
    .replaceAll(table.replaceAll(/[^A-Za-z0-9._-]/g, '_'), '·')
    .replaceAll(/\b[0-9a-f]{32}\b/g, '·')
    .replaceAll(/\d+(\.\d+)?/g, '·');
}
