package api

import "github.com/stowage/stowage/spec"

// Access says who may use a route.
type Access string

// The ways of access.
const (
	Open    Access = "open"    // anyone who reaches the port
	Read    Access = "read"    // tokens of kind operator and reader
	Operate Access = "operate" // tokens of kind operator
	Join    Access = "join"    // tokens of kind agent
	Agent   Access = "agent"   // a certificate of an agent
	Fetch   Access = "fetch"   // a certificate of an agent, or tokens as for Read
)

// Param is a parameter in the query of a route. Those in the path stand in the path.
type Param struct {
	Name        string
	Description string
	Type        string // string, integer, boolean, or strings for one that may be repeated
}

// Route is one thing that can be asked of the master.
type Route struct {
	ID       string // the operation's name, unique
	Method   string
	Path     string // as net/http writes patterns; {name...} takes the rest, slashes included
	Access   Access
	Summary  string
	Query    []Param
	Request  any    // a value of the body's type; nil without a body
	Upload   string // media type of a body that is no JSON
	Response any    // a value of the answer's type; for streams, of one event
	Media    string // media type of an answer that is no JSON
	Status   int    // of success; 0 is 200
}

const (
	mediaEvents = "text/event-stream"
	mediaTar    = "application/x-tar"
	mediaText   = "text/plain"
	mediaGzip   = "application/gzip"
	mediaBytes  = "application/octet-stream"
)

var fileParams = []Param{{"path", "as the task sees it; a relative one begins at its root", "string"}, {"task", "whose; without it, the only main task's", "string"}}

var treeParams = []Param{
	{"ref", "branch, tag or commit to plan; without it, the uploaded tree", "string"},
	{"subject", "what the tree is called in the plan", "string"},
	{"without", "nodes to plan without, as if they were gone for good: node/n3, or the value of an attribute such as rack/r1", "strings"},
	{"with", "nodes to plan with beside those that are there: 5xbig of a node_class, or 2xlike/n3", "strings"},
}

// Routes is the table of all routes.
var Routes = []Route{
	{ID: "status", Method: "GET", Path: "/v1/status", Access: Read, Response: Status{}, Summary: "How the cluster is, on one page"},
	{ID: "sync", Method: "POST", Path: "/v1/sync", Access: Operate, Response: Source{}, Summary: "Look at the repository now, for web hooks"},

	{ID: "nodes", Method: "GET", Path: "/v1/nodes", Access: Read, Response: []Node{}, Summary: "All nodes"},
	{ID: "node", Method: "GET", Path: "/v1/nodes/{node}", Access: Read, Response: Node{}, Summary: "One node"},
	{ID: "removeNode", Method: "DELETE", Path: "/v1/nodes/{node}", Access: Operate, Response: Applied{}, Summary: "Forget a node; its allocations count as lost"},
	{ID: "drain", Method: "POST", Path: "/v1/nodes/{node}/drain", Access: Operate, Request: DrainRequest{}, Response: Applied{}, Summary: "Move everything away from a node"},
	{ID: "drainNodes", Method: "POST", Path: "/v1/drain", Access: Operate, Request: DrainRequest{}, Response: Applied{}, Summary: "Move everything away from several nodes at once, named or chosen by their attributes"},
	{ID: "undrainNodes", Method: "POST", Path: "/v1/undrain", Access: Operate, Request: UndrainRequest{}, Response: Applied{}, Summary: "Let several nodes take allocations again"},
	{ID: "undrain", Method: "POST", Path: "/v1/nodes/{node}/undrain", Access: Operate, Response: Applied{}, Summary: "Let a node take allocations again"},

	{ID: "apps", Method: "GET", Path: "/v1/apps", Access: Read, Response: []App{}, Summary: "All apps and how they are doing"},
	{ID: "app", Method: "GET", Path: "/v1/apps/{app...}", Access: Read, Response: App{}, Summary: "One app with its spec"},
	{ID: "allocations", Method: "GET", Path: "/v1/allocations", Access: Read, Response: []spec.AllocationView{}, Summary: "Allocations, by slot and generation",
		Query: []Param{{"app", "only of this app, or of apps below this name", "string"}, {"node", "only on this node", "string"}, {"ended", "also those that have ended and are remembered; without app, those of runs that have ended too", "boolean"}}},
	{ID: "allocation", Method: "GET", Path: "/v1/allocations/{id}", Access: Read, Response: spec.AllocationView{}, Summary: "One allocation"},
	{ID: "explainAllocation", Method: "GET", Path: "/v1/allocations/{id}/explain", Access: Read, Response: Explanation{}, Summary: "Why an allocation is where and as it is"},
	{ID: "explain", Method: "GET", Path: "/v1/explain", Access: Read, Response: Explanation{}, Summary: "Why a slot, app, node or allocation is as it is",
		Query: []Param{{"of", "shop/web[3], shop/web, n1 or shop.web-3-17", "string"}}},
	{ID: "logs", Method: "GET", Path: "/v1/allocations/{id}/logs", Access: Read, Media: mediaText, Summary: "Output of a task; frames when Accept is " + FrameMedia,
		Query: []Param{{"task", "whose output; without it, the only main task's", "string"}, {"follow", "go on as it comes", "boolean"},
			{"tail", "last lines to begin with; -1: all there is (100 when not given, all with since)", "integer"},
			{"since", "only what was printed since: a duration such as 10m, or a moment as in RFC 3339", "string"}, {"stream", "stdout, stderr or both (when not given)", "string"}}},
	{ID: "exec", Method: "POST", Path: "/v1/allocations/{id}/exec", Access: Operate, Media: FrameMedia, Status: 101, Summary: "Run a command in a task: an upgrade to " + ExecProtocol + ", frames in both directions",
		Query: []Param{{"task", "in which task; without it, the only main one", "string"}, {"command", "the command and its arguments, one each", "strings"},
			{"terminal", "with a terminal", "boolean"}, {"stdin", "with standard input", "boolean"},
			{"credit", "say in " + CreditHeader + " and by frames how much input may be on the way, so that signals never wait behind it", "boolean"}, {"rows", "of the terminal", "integer"}, {"columns", "of the terminal", "integer"}, {"term", "kind of terminal, for the variable TERM", "string"}}},
	{ID: "files", Method: "GET", Path: "/v1/allocations/{id}/files", Access: Operate, Response: spec.File{}, Summary: "A file or folder of a task, as the task sees it, or as it left it", Query: fileParams},
	{ID: "content", Method: "GET", Path: "/v1/allocations/{id}/content", Access: Operate, Media: mediaBytes, Summary: "What is in a file of a task; frames when Accept is " + FrameMedia, Query: fileParams},
	{ID: "pack", Method: "GET", Path: "/v1/allocations/{id}/archive", Access: Operate, Media: mediaTar, Summary: "A file or folder of a task as a tar archive; frames when Accept is " + FrameMedia, Query: fileParams},
	{ID: "unpack", Method: "PUT", Path: "/v1/allocations/{id}/archive", Access: Operate, Upload: mediaTar, Response: spec.Unpacked{}, Summary: "Put a file or folder into a task that runs, from a tar archive with that one at its top", Query: fileParams},
	{ID: "usage", Method: "GET", Path: "/v1/usage", Access: Read, Response: []spec.NodeUsage{}, Summary: "What nodes and tasks use now, beside what they asked for; asked of the nodes at this moment",
		Query: []Param{{"app", "only of this app, or of apps below this name", "string"}, {"node", "only of this node", "string"}, {"allocation", "only of this allocation, or of a slot", "string"}}},
	{ID: "blocked", Method: "GET", Path: "/v1/blocked", Access: Read, Response: []BlockedApp{}, Summary: "What has no place, or is held, and why"},
	{ID: "roles", Method: "GET", Path: "/v1/roles", Access: Read, Response: []Role{}, Summary: "Who has which share"},

	{ID: "makePlan", Method: "POST", Path: "/v1/plan", Access: Read, Query: treeParams, Upload: mediaTar, Response: spec.Plan{}, Summary: "What a commit or an uploaded tree (tar) would do now; nothing is applied"},
	{ID: "pendingPlan", Method: "GET", Path: "/v1/plan", Access: Read, Query: treeParams[2:], Response: spec.Plan{}, Summary: "The plan that waits for approval, or else what the head of the branch would do now"},
	{ID: "makeInput", Method: "POST", Path: "/v1/input", Access: Read, Query: treeParams[:2], Upload: mediaTar, Media: mediaGzip, Summary: "All that the plan of a commit or an uploaded tree depends on, as compressed JSON, for planning without a master; without the values of environments"},
	{ID: "pendingInput", Method: "GET", Path: "/v1/input", Access: Read, Media: mediaGzip, Summary: "The same of the plan that waits for approval, or else of the head of the branch"},
	{ID: "plan", Method: "GET", Path: "/v1/plans/{id}", Access: Read, Response: spec.Plan{}, Summary: "A plan that waits or was followed"},
	{ID: "diff", Method: "GET", Path: "/v1/diff", Access: Read, Response: Diff{}, Summary: "What differs between two plans",
		Query: []Param{{"from", "a plan's ID", "string"}, {"to", "another's", "string"}}},
	{ID: "apply", Method: "POST", Path: "/v1/apply", Access: Operate, Request: ApplyRequest{}, Response: Applied{}, Summary: "Approve a plan"},
	{ID: "history", Method: "GET", Path: "/v1/history", Access: Read, Response: []HistoryEntry{}, Summary: "Revisions that were followed, newest first"},
	{ID: "rollback", Method: "POST", Path: "/v1/rollback", Access: Operate, Request: RollbackRequest{}, Response: Applied{}, Summary: "Follow an older commit until a newer one arrives"},
	{ID: "resume", Method: "POST", Path: "/v1/resume", Access: Operate, Response: Applied{}, Summary: "Follow the head of the branch again"},
	{ID: "rebalance", Method: "POST", Path: "/v1/rebalance", Access: Operate, Request: RebalanceRequest{}, Response: Rebalancing{}, Summary: "Move what pays: room for what has none, spreads made even, nodes freed"},
	{ID: "rebalancing", Method: "GET", Path: "/v1/rebalance", Access: Read, Response: Rebalancing{}, Summary: "The rebalancing under way, or without one what would be proposed"},
	{ID: "cancelRebalance", Method: "DELETE", Path: "/v1/rebalance", Access: Operate, Response: Applied{}, Summary: "End the rebalancing under way; what has not moved stays"},
	{ID: "promote", Method: "POST", Path: "/v1/promote", Access: Operate, Request: AppRequest{}, Response: Applied{}, Summary: "Let the canaries of an app replace the rest"},
	{ID: "restart", Method: "POST", Path: "/v1/restart", Access: Operate, Request: AppRequest{}, Response: Applied{}, Summary: "Replace all allocations of an app within its budget"},
	{ID: "scale", Method: "POST", Path: "/v1/scale", Access: Operate, Request: ScaleRequest{}, Response: Applied{}, Summary: "Choose the count of an app, within the bounds that its scaling block gives"},
	{ID: "runs", Method: "GET", Path: "/v1/runs", Access: Read, Response: []Runs{}, Summary: "Apps with runs, their next firings and their runs",
		Query: []Param{{"app", "only of this app, or of apps below this name", "string"}}},
	{ID: "dispatch", Method: "POST", Path: "/v1/dispatch", Access: Operate, Request: DispatchRequest{}, Response: Dispatched{}, Status: 201, Summary: "Start a run of an app with a schedule"},
	{ID: "cancel", Method: "POST", Path: "/v1/cancel", Access: Operate, Request: CancelRequest{}, Response: Applied{}, Summary: "End a run: what is left of it is stopped"},
	{ID: "validate", Method: "POST", Path: "/v1/validate", Access: Read, Upload: mediaTar, Response: Validation{}, Summary: "Check an uploaded tree (tar)"},

	{ID: "events", Method: "GET", Path: "/v1/events", Access: Read, Response: Event{}, Media: mediaEvents, Summary: "The story as it happens; Last-Event-ID goes on where a stream broke off",
		Query: []Param{{"subject", "only about this app, slot, node or commit, and what is below it", "string"}, {"tail", "past events to begin with", "integer"}, {"follow", "false: end after the past ones", "boolean"}}},
	{ID: "watch", Method: "GET", Path: "/v1/watch", Access: Read, Response: Change{}, Media: mediaEvents, Summary: "Allocations and apps as they change: first all, then what differs",
		Query: []Param{{"app", "only of this app, or of apps below this name", "string"}, {"node", "only on this node", "string"}}},

	{ID: "tokens", Method: "GET", Path: "/v1/tokens", Access: Operate, Response: []Token{}, Summary: "All tokens"},
	{ID: "createToken", Method: "POST", Path: "/v1/tokens", Access: Operate, Request: TokenRequest{}, Response: NewToken{}, Status: 201, Summary: "Make a token"},
	{ID: "revokeToken", Method: "DELETE", Path: "/v1/tokens/{id}", Access: Operate, Response: Applied{}, Summary: "End a token at once"},
	{ID: "plugins", Method: "GET", Path: "/v1/plugins", Access: Read, Response: []Plugin{}, Summary: "Plugins and how they are"},

	{ID: "join", Method: "POST", Path: "/v1/join", Access: Join, Request: JoinRequest{}, Response: JoinAnswer{}, Summary: "An agent's first certificate"},
	{ID: "renew", Method: "POST", Path: "/v1/renew", Access: Agent, Request: JoinRequest{}, Response: JoinAnswer{}, Summary: "An agent's next certificate, asked for with the present one"},
	{ID: "repository", Method: "GET", Path: "/v1/repository/{commit}/{path...}", Access: Fetch, Media: mediaTar, Summary: "A file or folder of the repository at a commit, as a tar archive"},

	{ID: "openapi", Method: "GET", Path: "/v1/openapi.json", Access: Open, Media: "application/json", Summary: "This description"},
	{ID: "health", Method: "GET", Path: "/healthz", Access: Open, Media: mediaText, Summary: "200 while the master decides, 503 otherwise"},
	{ID: "metrics", Method: "GET", Path: "/metrics", Access: Read, Media: mediaText, Summary: "Figures in the text format of Prometheus"},
}
