import { readdirSync, readFileSync, statSync } from 'node:fs';
import { extname, join } from 'node:path';
import { parseAllDocuments } from 'yaml';
import { asError } from '../util/as-error.ts';

/** A definition as it stands in a file. */
export interface FileDefinition {
  /** The file, and which one in it where it has several: `streams.yaml (2)`. */
  readonly source: string;
  readonly body: unknown;
}

export interface ReadDefinitions {
  readonly definitions: readonly FileDefinition[];
  /** What cannot be read. */
  readonly faults: readonly { readonly source: string; readonly message: string }[];
}

const EXTENSIONS = ['.json', '.yaml', '.yml'];

/**
 * Reads definitions of streams: of files as they are named, and of a folder its files that end in .json, .yaml or .yml, by
 * name and without those of folders in it. A file may have several: a JSON list, or documents of YAML.
 * @param paths `-` is standard input
 */
export function readDefinitions(paths: readonly string[], readStdin: () => string): ReadDefinitions {
  const definitions: FileDefinition[] = [];
  const faults: { source: string; message: string }[] = [];
  for (const path of paths)
    try {
      for (const file of filesAt(path)) {
        const source = file === '-' ? 'standard input' : file;
        try {
          const text = file === '-' ? readStdin() : readFileSync(file, 'utf8');
          definitions.push(...definitionsIn(source, text));
        } catch (error) {
          faults.push({ source, message: asError(error).message });
        }
      }
    } catch (error) {
      faults.push({ source: path, message: asError(error).message });
    }
  return { definitions, faults };
}

function filesAt(path: string): string[] {
  if (path === '-' || !statSync(path).isDirectory()) return [path];
  const names = readdirSync(path, { withFileTypes: true })
    .filter((entry) => !entry.isDirectory() && EXTENSIONS.includes(extname(entry.name)))
    .map(({ name }) => name)
    .sort();
  if (names.length === 0) throw new Error(`the folder has no file that ends in ${EXTENSIONS.join(', ')}`);
  return names.map((name) => join(path, name));
}

/** @throws {Error} saying what is wrong in the text */
function definitionsIn(source: string, text: string): FileDefinition[] {
  const bodies = valuesIn(source, text).flatMap((value) => (Array.isArray(value) ? (value as unknown[]) : [value]));
  if (bodies.length === 0) throw new Error('there is no definition in it');
  return bodies.map((body, place) => ({ source: bodies.length > 1 ? `${source} (${place + 1})` : source, body }));
}

function valuesIn(source: string, text: string): unknown[] {
  if (extname(source) === '.json') return [JSON.parse(text)];
  const documents = parseAllDocuments(text);
  if (!Array.isArray(documents)) return []; // an empty text
  return documents.flatMap((document): unknown[] => {
    const [error] = document.errors;
    if (error) throw new Error(error.message);
    const value: unknown = document.toJS();
    return value === null ? [] : [value]; // what stands between two `---` may be nothing
  });
}
