import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

export interface Column<Row> {
  readonly title: string;
  readonly cell: (row: Row) => ComponentChildren;
  /** Numbers stand on the right, under each other. */
  readonly isNumber?: boolean;
  /** Left out where there is little room. */
  readonly isExtra?: boolean;
  /** Too short to be broken, where there is room. */
  readonly isOneLine?: boolean;
  /** What names the row. */
  readonly isHeader?: boolean;
}

interface TableProps<Row> {
  readonly caption: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  readonly keyOf: (row: Row) => string;
  /** Where the caption says no more than the heading above. */
  readonly isCaptionHidden?: boolean;
  readonly empty?: ComponentChildren;
}

/** Rows under a caption. What is too wide is moved sideways, also with the keyboard. */
export function Table<Row>({
  caption,
  columns,
  rows,
  keyOf,
  isCaptionHidden = false,
  empty,
}: TableProps<Row>) {
  const frame = useRef<HTMLElement>(null);
  const isWide = useOverflow(frame);
  return (
    <section
      class="table-frame"
      ref={frame}
      {...(isWide ? { tabIndex: 0, 'aria-label': `${caption}, moves sideways` } : {})}
    >
      <table>
        <caption class={isCaptionHidden ? 'hidden' : ''}>{caption}</caption>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" class={classOf(column)}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) =>
                column.isHeader === true ? (
                  <th key={column.title} scope="row" class={classOf(column)}>
                    {column.cell(row)}
                  </th>
                ) : (
                  <td key={column.title} class={classOf(column)}>
                    {column.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
          {rows.length === 0 && (
            <tr>
              <td colSpan={columns.length} class="none">
                {empty ?? 'None.'}
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </section>
  );
}

function classOf<Row>({ isNumber = false, isExtra = false, isOneLine = false }: Column<Row>): string {
  return `${isNumber ? 'number' : ''} ${isExtra ? 'extra' : ''} ${isOneLine ? 'one-line' : ''}`.trim();
}

function useOverflow(frame: { readonly current: HTMLElement | null }): boolean {
  const [isWide, setWide] = useState(false);
  useEffect(() => {
    const element = frame.current;
    if (element === null) return;
    const look = () => setWide(element.scrollWidth > element.clientWidth + 1);
    const observer = new ResizeObserver(look);
    observer.observe(element);
    if (element.firstElementChild !== null) observer.observe(element.firstElementChild);
    return () => observer.disconnect();
  }, [frame]);
  return isWide;
}
