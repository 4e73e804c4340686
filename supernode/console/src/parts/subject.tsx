import { Fragment } from 'preact';
import { ShortDigest } from './digest.tsx';

/** An image, a URL or a digest; a long one is broken where one of its parts ends. */
export function Subject({ text }: { readonly text: string }) {
  if (/^sha256:[0-9a-f]{64}$/.test(text)) return <ShortDigest digest={text} />;
  const parts = text.split(/(?<=[/:@])(?![/:@])/);
  return (
    <span class="subject">
      {parts.map((part, index) => (
        <Fragment key={index}>
          {index > 0 && <wbr />}
          {part}
        </Fragment>
      ))}
    </span>
  );
}
