const written = new WeakMap<object, string>();

/** Has a document that is given again and again, and stays as it is, written out once. */
export function writtenOnce<Document extends object>(document: Document): Document {
  written.set(document, JSON.stringify(document));
  return document;
}

export const textOf = (document: unknown): string =>
  (typeof document === 'object' && document !== null ? written.get(document) : undefined) ??
  JSON.stringify(document);
