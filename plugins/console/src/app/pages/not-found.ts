import { ChangeDetectionStrategy, Component } from '@angular/core';
import { RouterLink } from '@angular/router';
import { PageHeader } from '../ui/page-header';

@Component({
  changeDetection: ChangeDetectionStrategy.OnPush,
  imports: [PageHeader, RouterLink],
  template: `<otad-header title="There is no such page"
    ><p>Its address may be mistyped, or what it showed is gone. <a routerLink="/">Go to Home</a></p></otad-header
  >`,
})
export class NotFoundPage {}
