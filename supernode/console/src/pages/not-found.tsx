import { Page } from '../parts/page.tsx';
import { routeHref } from '../route.ts';

export function NotFoundPage() {
  return (
    <Page title="There is no such page">
      <p>
        Go to the <a href={routeHref('overview')}>overview</a>, or search.
      </p>
    </Page>
  );
}
