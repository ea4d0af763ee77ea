import { ChangeDetectionStrategy, Component, effect, inject, input, untracked } from '@angular/core';
import { RouterLink } from '@angular/router';
import { Api } from '../../core/api';
import { coalesce } from '../../core/coalesce';
import { Feed } from '../../core/feed';
import { Decision } from '../../core/models';
import { PagedList } from '../../core/paged-list';
import { More } from '../../ui/more';
import { Loading } from '../../ui/notice';
import { PolicyLine } from '../../ui/policy-line';
import { StateBadge } from '../../ui/state-badge';
import { Time } from '../../ui/time';

const MOST = 400; // rows; then it begins again with the newest page
const MANY = 50; // in a second, of which nobody reads each: then the newest page alone is shown

/** What was decided, newest first, on devices and stages, why, and by which line of the policy; live. */
@Component({
  selector: 'otad-decision-feed',
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [Loading, More, PolicyLine, RouterLink, StateBadge, Time],
  template: `@if (list.fresh()) {
      <otad-loading />
    } @else if (list.items().length) {
      <ol tabindex="0" aria-label="Decisions, newest first">
        @for (decision of list.items(); track decision.id) {
          <li>
            <otad-state [state]="decision.verdict" />
            <span class="about">
              @if (decision.device_id; as id) {
                <a [routerLink]="['/devices', id]">Device {{ id }}</a>
              } @else {
                The stage
              }
              @if (decision.reason) {
                <span class="reason">{{ decision.reason }}</span>
              }
            </span>
            <span class="by">
              @if (decision.line === null) {
                <span class="muted">{{
                  decision.verdict === 'offer' ? 'no rule against it' : 'the server, or a person'
                }}</span>
              } @else {
                <otad-policy-line
                  [policy]="decision.policy"
                  [revision]="decision.revision"
                  [line]="decision.line"
                  [file]="decision.file"
                />
              }
            </span>
            <otad-time class="muted" [at]="decision.at" />
          </li>
        }
      </ol>
      <otad-more [list]="list" />
    } @else if (list.error()) {
      <otad-more [list]="list" />
    } @else {
      <p class="muted none">Nothing has been decided yet.</p>
    }`,
  styles: `
    ol {
      list-style: none;
      max-height: 560px;
      overflow-y: auto;
    }
    li {
      display: grid;
      grid-template-columns: 104px minmax(0, 1fr) auto 84px;
      align-items: baseline;
      gap: 2px 12px;
      padding: 7px 18px;
      border-bottom: 1px solid var(--line);
      font-size: 13.5px;
    }
    li:last-child {
      border-bottom: 0;
    }
    .about {
      overflow-wrap: anywhere;
    }
    .about a {
      text-decoration: underline;
    }
    .reason {
      margin-left: 6px;
    }
    otad-time {
      text-align: right;
      font-size: 12.5px;
    }
    .by {
      font-size: 13px;
    }
    .none {
      padding: 0 18px 16px;
    }
    @media (max-width: 700px) {
      li {
        grid-template-columns: minmax(0, 1fr) auto;
      }
      .about {
        grid-column: 1 / -1;
        grid-row: 2;
      }
      .by {
        grid-row: 3;
        grid-column: 1 / -1;
      }
    }
  `,
})
export class DecisionFeed {
  private readonly api = inject(Api);

  readonly rollout = input.required<number>();

  protected readonly list = new PagedList<Decision>((cursor, limit) =>
    this.api.list(`/rollouts/${this.rollout()}/decisions`, { cursor, limit }),
  );

  private came: Decision[] = [];

  constructor() {
    effect(() => {
      this.rollout();
      untracked(() => this.list.restart());
    });
    const show = coalesce(() => {
      if (this.list.loading()) return false; // what is read may be older
      const news = this.came;
      this.came = [];
      if (news.length > MANY || this.list.items().length + news.length > MOST) {
        return this.list.reload(0);
      }
      const known = new Set(this.list.items().map(({ id }) => id));
      return news.filter(({ id }) => !known.has(id)).forEach((decision) => this.list.prepend(decision));
    }, 1000);
    inject(Feed).watch(
      () => [`rollout:${this.rollout()}`],
      ({ event, data }) => {
        if (event !== 'decision') return;
        if (this.came.length <= MANY) this.came.push(data as Decision);
        show();
      },
      () => !this.list.loading() && this.list.reload(),
    );
  }
}
