import type { TableSchema } from '../kudu/schema.ts';
import type { SelectionDefinition } from './definition.ts';
import { Selection, type SelectionFault } from './selection.ts';

/** What is wrong with one field of a stream, table by table. */
export interface Misfit {
  readonly path: SelectionFault['path'];
  readonly faults: readonly string[];
}

/** No secret is needed to see whether a definition fits. */
const NO_SALT = Buffer.of(0);

/**
 * The first field of a stream that does not fit its tables as they are now; null where all do.
 * @param schemaOf null where it is not known
 * @param before faults that it had as well are none of the change's
 */
export async function findMisfit(
  definition: SelectionDefinition,
  tables: readonly { readonly tableId: string; readonly name: string }[],
  schemaOf: (tableId: string) => Promise<TableSchema | null>,
  before?: SelectionDefinition,
): Promise<Misfit | null> {
  const [selection, earlier] = [definition, before].map((each) => each && new Selection(each, () => NO_SALT));
  const found: SelectionFault[] = [];
  for (const { tableId, name } of tables) {
    if (!selection!.concerns(name)) continue;
    const schema = await schemaOf(tableId);
    if (schema === null) continue;
    const known = new Set(earlier?.faultsOf(name, schema).map(({ message }) => message));
    for (const { path, message } of selection!.faultsOf(name, schema))
      if (!known.has(message)) found.push({ path, message: `table ${JSON.stringify(name)}: ${message}` });
  }
  const [first] = found;
  if (!first) return null;
  const { path } = first;
  return { path, faults: found.filter((fault) => fault.path === path).map(({ message }) => message) };
}
