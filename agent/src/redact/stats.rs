//! Counters: how many events of each kind, how many hits of each class. Never text.

/// Defines an enum whose variants have fixed names and index an array.
macro_rules! named {
    ($(#[$meta:meta])* $name:ident { $($(#[$vmeta:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$vmeta])* $variant,)+ }

        impl $name {
            /// All of them, in the order of their indices.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The name, as it stands in records and metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// Its index in counters.
            #[must_use]
            pub fn index(self) -> usize {
                self as usize
            }
        }
    };
}

named! {
    /// What happened, by the list of events that auditors know.
    Event {
        /// A message came in.
        MessageReceived = "message_received",
        /// The business sent a message.
        MessageSent = "message_sent",
        /// A message was sent, delivered, read, or failed.
        MessageStatus = "message_status",
        /// A message template changed.
        TemplateStatus = "template_status",
        /// The account, a session, a group or a preference changed.
        AccountEvent = "account_event",
        /// A call.
        Call = "call",
        /// A request to the gateway.
        ApiRequest = "api_request",
        /// A log-in at the gateway.
        Login = "login",
        /// A database deadlock.
        DbDeadlock = "db_deadlock",
        /// Any other database error.
        DbError = "db_error",
        /// Any other line.
        Log = "log",
        /// A range that could not be delivered.
        Gap = "gap",
        /// The agent began.
        AgentStart = "agent_start",
        /// The agent ended in order.
        AgentEnd = "agent_end",
    }
}

named! {
    /// What was taken out; also the name in a `[class…]` marker.
    Class {
        /// A phone number.
        Phone = "phone",
        /// A user id that is not a number (business-scoped, `@lid`).
        User = "user",
        /// A person's name or user name.
        Name = "name",
        /// A message or call id.
        Message = "message",
        /// A group.
        Group = "group",
        /// A conversation, request, sign-up or flow id.
        Id = "id",
        /// A media id or file name.
        Media = "media",
        /// A hash of media or of an identity key.
        Hash = "hash",
        /// An e-mail address.
        Email = "email",
        /// An IP address.
        Ip = "ip",
        /// A payment card number.
        Card = "card",
        /// An IBAN.
        Iban = "iban",
        /// A secret: token, password, key.
        Secret = "secret",
        /// Something that held one of these in base64.
        Base64 = "base64",
        /// Something that held one of these in hex.
        Hex = "hex",
        /// Message content, or what failed closed as content.
        Content = "content",
    }
}

/// Counters since the redactor was made. Plain numbers: they may be published.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Lines read.
    pub lines: u64,
    /// Bytes of text in those lines.
    pub bytes: u64,
    events: [u64; Event::ALL.len()],
    classes: [u64; Class::ALL.len()],
}

impl Stats {
    /// How many events of this kind were recorded.
    #[must_use]
    pub fn event(&self, event: Event) -> u64 {
        self.events.get(event.index()).copied().unwrap_or(0)
    }

    /// How many times this class was taken out.
    #[must_use]
    pub fn class(&self, class: Class) -> u64 {
        self.classes.get(class.index()).copied().unwrap_or(0)
    }

    pub(super) fn count_event(&mut self, event: Event) {
        if let Some(n) = self.events.get_mut(event.index()) {
            *n += 1;
        }
    }

    pub(super) fn count(&mut self, class: Class) {
        if let Some(n) = self.classes.get_mut(class.index()) {
            *n += 1;
        }
    }
}
