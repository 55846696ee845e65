import type { KoffiFunc, LibraryHandle } from 'koffi';
import { KuduError } from '../errors.ts';
import { SecurityFault } from '../status.ts';

/**
 * The functions of the system's GSSAPI (RFC 2744, MIT krb5) that a client needs, by their own names.
 * What begins with `call` may ask the KDC, so it runs on a thread of libuv and not on the event loop.
 */
export interface GssLibrary {
  /** Words for a status. @param mechanism false: the general code, true: the mechanism's own */
  describe(status: number, mechanism: boolean): string;
  importName(name: string, type: NameType): { readonly status: GssStatus; readonly name: Pointer };
  callAcquireCred(
    name: Pointer,
    store: readonly (readonly [string, string])[],
  ): Promise<{ readonly status: GssStatus; readonly cred: Pointer }>;
  callInitSecContext(
    cred: Pointer,
    context: Pointer,
    target: Pointer,
    flags: number,
    input: Uint8Array,
  ): Promise<{ readonly status: GssStatus; readonly context: Pointer; readonly output: Buffer }>;
  wrap(context: Pointer, message: Uint8Array): { readonly status: GssStatus; readonly output: Buffer };
  unwrap(context: Pointer, message: Uint8Array): { readonly status: GssStatus; readonly output: Buffer };
  releaseName(name: Pointer): void;
  releaseCred(cred: Pointer): void;
  deleteContext(context: Pointer): void;
}

/** An address of C, or null. Never looked into. */
export type Pointer = object | bigint | null;
export type NameType = 'host-based service' | 'principal';

export interface GssStatus {
  readonly major: number;
  readonly minor: number;
}

interface GssBuffer {
  length: number | bigint;
  value: unknown;
}

/** Content of the DER of object identifiers. Source: RFC 2743 4.1, RFC 1964 1, RFC 2744 3.1. */
const KRB5_MECHANISM = Buffer.from('2a864886f712010202', 'hex'); // 1.2.840.113554.1.2.2
const NAME_TYPES: Readonly<Record<NameType, Buffer>> = {
  'host-based service': Buffer.from('2a864886f71201020104', 'hex'), // 1.2.840.113554.1.2.1.4
  principal: Buffer.from('2a864886f71201020201', 'hex'), // 1.2.840.113554.1.2.2.1
};
const C_INITIATE = 1;
const STATUS_GENERAL = 1;
const STATUS_MECHANISM = 2;
const INDEFINITE = 0xffffffff;

const LIBRARY_NAMES = ['libgssapi_krb5.so.2', 'libgssapi_krb5.so'];

/** Answers a status; everything else goes through its arguments. */
type Native = KoffiFunc<(...args: unknown[]) => number>;

let loading: Promise<GssLibrary> | null = null;

/**
 * Loads the library once a process: nobody without Kerberos needs it, nor the package that calls it.
 * @throws {KuduError} `security` KERBEROS_LIBRARY with the package to install
 */
export function loadGssLibrary(): Promise<GssLibrary> {
  loading ??= load().catch((error: unknown) => {
    loading = null; // it may be installed meanwhile
    throw error;
  });
  return loading;
}

async function load(): Promise<GssLibrary> {
  let koffi: typeof import('koffi').default;
  try {
    koffi = (await import('koffi')).default;
  } catch (cause) {
    throw missing('the npm package koffi is not installed (npm install koffi; it is an optional dependency)', cause);
  }
  let library: LibraryHandle | null = null;
  let failure: unknown;
  for (const name of LIBRARY_NAMES) {
    try {
      library = koffi.load(name);
      break;
    } catch (error) {
      failure = error;
    }
  }
  if (library === null)
    throw missing(
      `the system has no ${LIBRARY_NAMES[0]} (Debian, Ubuntu: apt-get install libgssapi-krb5-2; Red Hat: krb5-libs; Alpine: krb5-libs)`,
      failure,
    );
  return bind(koffi, library);
}

function missing(what: string, cause: unknown): KuduError {
  return new KuduError('security', `Kerberos cannot be used: ${what}`, {
    code: SecurityFault.KERBEROS_LIBRARY,
    notRun: true,
    cause,
  });
}

function bind(koffi: typeof import('koffi').default, library: LibraryHandle): GssLibrary {
  koffi.struct('gss_buffer_desc', { length: 'size_t', value: 'void *' });
  koffi.struct('gss_OID_desc', { length: 'uint32_t', elements: 'void *' });
  koffi.struct('gss_OID_set_desc', { count: 'size_t', elements: 'gss_OID_desc *' });
  koffi.struct('gss_key_value_element_desc', { key: 'const char *', value: 'const char *' });
  koffi.struct('gss_key_value_set_desc', { count: 'uint32_t', elements: 'gss_key_value_element_desc *' });
  const importName = library.func(
    'uint32_t gss_import_name(_Out_ uint32_t *minor, gss_buffer_desc *text, gss_OID_desc *type, _Out_ void **name)',
  );
  const acquireCred = library.func(
    'uint32_t gss_acquire_cred_from(_Out_ uint32_t *minor, void *name, uint32_t time, gss_OID_set_desc *mechanisms, int usage, gss_key_value_set_desc *store, _Out_ void **cred, void *actual, void *timeRec)',
  );
  const initSecContext = library.func(
    'uint32_t gss_init_sec_context(_Out_ uint32_t *minor, void *cred, _Inout_ void **context, void *target, gss_OID_desc *mechanism, uint32_t flags, uint32_t time, void *bindings, gss_buffer_desc *input, void *actualMechanism, _Out_ gss_buffer_desc *output, void *retFlags, void *timeRec)',
  );
  const wrap = library.func(
    'uint32_t gss_wrap(_Out_ uint32_t *minor, void *context, int conf, uint32_t qop, gss_buffer_desc *input, void *confState, _Out_ gss_buffer_desc *output)',
  );
  const unwrap = library.func(
    'uint32_t gss_unwrap(_Out_ uint32_t *minor, void *context, gss_buffer_desc *input, _Out_ gss_buffer_desc *output, void *confState, void *qop)',
  );
  const displayStatus = library.func(
    'uint32_t gss_display_status(_Out_ uint32_t *minor, uint32_t status, int type, gss_OID_desc *mechanism, _Inout_ uint32_t *more, _Out_ gss_buffer_desc *text)',
  );
  const releaseBuffer = library.func('uint32_t gss_release_buffer(_Out_ uint32_t *minor, _Inout_ gss_buffer_desc *b)');
  const releaseName = library.func('uint32_t gss_release_name(_Out_ uint32_t *minor, _Inout_ void **name)');
  const releaseCred = library.func('uint32_t gss_release_cred(_Out_ uint32_t *minor, _Inout_ void **cred)');
  const deleteContext = library.func(
    'uint32_t gss_delete_sec_context(_Out_ uint32_t *minor, _Inout_ void **context, void *output)',
  );

  const asBuffer = (bytes: Uint8Array): object => ({ length: bytes.length, value: bytes });
  const krb5 = { length: KRB5_MECHANISM.length, elements: KRB5_MECHANISM };
  /** The convention of this file: a function's status and what it put into its first output. */
  const status = (major: unknown, minor: readonly (number | null)[]): GssStatus => ({
    major: Number(major) >>> 0,
    minor: (minor[0] ?? 0) >>> 0,
  });
  /** What C reads and writes while nobody waits on this thread: it must not be collected meanwhile. */
  const inUse = new Set<readonly unknown[]>();
  const offLoop = (fn: Native, ...args: unknown[]): Promise<unknown> =>
    new Promise((resolve, reject) => {
      inUse.add(args);
      fn.async(...args, (error: unknown, result: unknown) => {
        inUse.delete(args);
        if (error) reject(error instanceof Error ? error : new Error('a call of libgssapi failed', { cause: error }));
        else resolve(result);
      });
    });

  const takeBuffer = (buffer: GssBuffer): Buffer => {
    const length = Number(buffer.length);
    if (length === 0 || buffer.value === null) return Buffer.alloc(0);
    const copy = Buffer.from(koffi.decode(buffer.value, koffi.array('uint8_t', length, 'Typed')) as Uint8Array);
    releaseBuffer([0], buffer);
    return copy;
  };
  const output = (): GssBuffer => ({ length: 0, value: null });
  const release = (fn: Native, pointer: Pointer, ...more: unknown[]): void => {
    if (pointer !== null) fn([0], [pointer], ...more);
  };

  return {
    describe(code, mechanism) {
      const text = output();
      displayStatus([0], code, mechanism ? STATUS_MECHANISM : STATUS_GENERAL, krb5, [0], text);
      return takeBuffer(text).toString();
    },
    importName(name, type) {
      const [minor, out] = [[0], [null as Pointer]];
      const oid = NAME_TYPES[type];
      const major: unknown = importName(minor, asBuffer(Buffer.from(name)), { length: oid.length, elements: oid }, out);
      return { status: status(major, minor), name: out[0] ?? null };
    },
    async callAcquireCred(name, store) {
      const [minor, out] = [[0], [null as Pointer]];
      const elements = store.map(([key, value]) => ({ key, value }));
      const set = elements.length === 0 ? null : { count: elements.length, elements };
      const mechanisms = { count: 1, elements: [krb5] };
      const major = await offLoop(
        acquireCred, minor, name, INDEFINITE, mechanisms, C_INITIATE, set, out, null, null,
      ); // prettier-ignore
      return { status: status(major, minor), cred: out[0] ?? null };
    },
    async callInitSecContext(cred, context, target, flags, input) {
      const [minor, inout, out] = [[0], [context], output()];
      const token = input.length === 0 ? null : asBuffer(input);
      const major = await offLoop(
        initSecContext, minor, cred, inout, target, krb5, flags, 0, null, token, null, out, null, null,
      ); // prettier-ignore
      return { status: status(major, minor), context: inout[0] ?? null, output: takeBuffer(out) };
    },
    wrap(context, message) {
      const [minor, out] = [[0], output()];
      const major: unknown = wrap(minor, context, 0, 0, asBuffer(message), null, out);
      return { status: status(major, minor), output: takeBuffer(out) };
    },
    unwrap(context, message) {
      const [minor, out] = [[0], output()];
      const major: unknown = unwrap(minor, context, asBuffer(message), out, null, null);
      return { status: status(major, minor), output: takeBuffer(out) };
    },
    releaseName: (pointer) => {
      release(releaseName, pointer);
    },
    releaseCred: (pointer) => {
      release(releaseCred, pointer);
    },
    deleteContext: (pointer) => {
      release(deleteContext, pointer, null);
    },
  };
}
