"""The admin site: its front page is the dashboard."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _
from unfold.sites import UnfoldAdminSite


class CoordinatorSite(UnfoldAdminSite):  # type: ignore[misc]
    """The theme's site; who may enter follows from `Person.is_staff`, that is from roles."""

    index_title = _("Overview")
